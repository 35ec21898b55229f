// Sends commands and waits for the answer to each, with kafkajs:
//
//     NODE_PATH=build/examples/node_modules node examples/send.js BROKER PREFIX <examples/commands.tsv
//
// SPDX-License-Identifier: Apache-2.0
"use strict";
const { randomUUID } = require("crypto");
const { EventEmitter, once } = require("events");
const { createInterface } = require("readline");
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require("kafkajs");
const lz4 = require("lz4js");

const SOURCE = "/examples"; // who sends; source and id together are the command's id
const TIMEOUT_MS = 30000;

// Answers are compressed with LZ4, which kafkajs does not know by itself.
CompressionCodecs[CompressionTypes.LZ4] = () => ({ decompress: async (data) => Buffer.from(lz4.decompress(data)) });

// Emits what comes into the topic, by the id of its command; to be called before the first command is sent.
async function readFromNowOn(kafka, topic, answers) {
  const admin = kafka.admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  const replies = kafka.consumer({ groupId: randomUUID() }); // kafkajs does not read without a group
  await replies.connect();
  await replies.subscribe({ topic });
  await replies.run({
    autoCommit: false,
    eachMessage: async ({ message }) => {
      const header = (name) => (message.headers[name] ?? "").toString();
      answers.emit(`${header("ce_causationsource")} ${header("ce_causationid")}`, header, message.value.toString());
    },
  });
  for (const { partition, offset } of ends) replies.seek({ topic, partition, offset });
  return replies;
}

async function main(broker, prefix) {
  const kafka = new Kafka({ brokers: [broker], logLevel: logLevel.ERROR });
  const producer = kafka.producer();
  await producer.connect();
  const answers = new EventEmitter();
  const replies = await readFromNowOn(kafka, `${prefix}.replies`, answers);
  for await (const line of createInterface({ input: process.stdin })) {
    const [id, type, key, data] = line.split("\t");
    const headers = { ce_specversion: "1.0", ce_id: id, ce_source: SOURCE, ce_type: type };
    const answered = once(answers, `${SOURCE} ${id}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    await producer.send({ topic: `${prefix}.commands`, messages: [{ key: key || null, value: data, headers }] });
    const [header, answer] = await answered; // throws when the time is over
    console.log([id, header("kinlog_forwarded"), header("ce_repeated"), answer].join("\t"));
  }
  await replies.disconnect();
  await producer.disconnect();
}

main(...process.argv.slice(2));
