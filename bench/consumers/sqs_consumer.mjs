// sqs-consumer, tuned: batches of 10, a shared client, several consumers for each queue. --batch: handleMessageBatch.
import { openSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.BENCH_NODE, "package.json"));
const { Consumer } = await import(require.resolve("sqs-consumer").replace("/cjs/", "/esm/"));
const { SQSClient } = require("@aws-sdk/client-sqs");

const endpoint = process.env.BENCH_ENDPOINT;
const batch = process.argv.includes("--batch");
const count = Number(process.argv[process.argv.indexOf("--consumers") + 1]);
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const routes = JSON.parse(process.env.BENCH_ROUTES);
const consumers = [];

for (const route of routes) {
  const marks = new Uint8Array(2 * route.count);
  route.save = () => writeSync(openSync(route.marks, "r+"), marks);
  const handle = async (message) => {
    const { seq } = JSON.parse(message.Body);
    marks[seq]++;
    if (route.seconds) await sleep(route.seconds);
    marks[route.count + seq]++;
    return message;
  };
  const handler = batch
    ? { handleMessageBatch: (messages) => Promise.all(messages.map(handle)) }
    : { handleMessage: handle };
  const sqs = new SQSClient({ region: "us-east-1", endpoint });
  const queueUrl = `${endpoint}/000000000000/${route.queue}`;
  for (let i = 0; i < count; i++) {
    const options = { queueUrl, sqs, batchSize: 10, pollingCompleteWaitTimeMs: 10_000, ...handler };
    const consumer = Consumer.create(options);
    consumer.on("error", (error) => console.error(error.message));
    consumer.on("processing_error", (error) => console.error(error.message));
    consumers.push(consumer);
  }
}

// Node cannot map the file: it is written at the end, and once before a long poll that may outlast our patience.
const save = () => routes.forEach((route) => route.save());
process.on("exit", save);
let stopped = 0;
process.once("SIGTERM", () => {
  save();
  for (const consumer of consumers) {
    consumer.once("stopped", () => ++stopped === consumers.length && process.exit(0));
    consumer.stop();
  }
});
consumers.forEach((consumer) => consumer.start());
