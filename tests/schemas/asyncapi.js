// asyncapi.js - what AsyncAPI's own parser says of schemas/asyncapi.yaml, and of copies that are wrong on purpose.
//
// SPDX-License-Identifier: Apache-2.0
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { Parser } = require('@asyncapi/parser');

const FOLDER = path.join(__dirname, '..', '..', 'schemas');
const FILE = path.join(FOLDER, 'asyncapi.yaml');
const TEXT = fs.readFileSync(FILE, 'utf-8');
const WARNING = 1; // 0 is an error; above stand hints, as that there is a newer AsyncAPI

const parser = new Parser();
async function parse(text) {
    const { document, diagnostics } = await parser.parse(text, { source: FILE });
    const faults = diagnostics.filter((one) => one.severity <= WARNING)
        .map((one) => `${one.path.join('/')}: ${one.message}`);
    return { document, faults };
}

function schemaFiles() {
    return ['commands', 'events', 'answers'].flatMap((kind) => fs.readdirSync(path.join(FOLDER, kind))
        .map((name) => JSON.parse(fs.readFileSync(path.join(FOLDER, kind, name), 'utf-8'))));
}

const tests = {
    'the document is valid'({ document, faults }) {
        assert.deepStrictEqual(faults, []);
        assert.strictEqual(document.version(), '3.0.0');
    },
    'each schema is the payload of a message in a channel'({ document }) {
        const messages = document.channels().all().flatMap((channel) => channel.messages().all());
        for (const schema of schemaFiles()) {
            const message = messages.find((one) => one.name() === `kinlog.${schema.title}`);
            assert.ok(message, schema.title);
            assert.deepStrictEqual(Object.keys(message.payload().properties()), Object.keys(schema.properties));
        }
    },
    'each message has the headers of its kind'({ document }) {
        for (const message of document.messages().all())
            assert.ok(Object.keys(message.headers().properties()).length > 4, message.name());
    },
};

const WRONG = {
    'a schema that is not there': ['./commands/AddSource.v1.json', './commands/AddSorce.v1.json'],
    'an action that is none': ['action: receive', 'action: take'],
    'a reference to nothing': ["$ref: '#/channels/replies'", "$ref: '#/channels/answers'"],
    'a location that is none': ['$message.header#/ce_id', 'ce_id'],
    'a channel without messages': ['    messages: {}', '    messages: []'],
};
for (const [title, [right, wrong]] of Object.entries(WRONG)) {
    tests[`refused: ${title}`] = async () => {
        assert.ok(TEXT.includes(right));
        assert.notDeepStrictEqual((await parse(TEXT.replace(right, wrong))).faults, []);
    };
}

async function main() {
    const parsed = await parse(TEXT);
    let failed = 0;
    for (const [title, test] of Object.entries(tests)) {
        try {
            await test(parsed);
        } catch (fault) {
            failed++;
            console.log(`FAILED: ${title}\n${fault.message}`);
        }
    }
    console.log(`${Object.keys(tests).length - failed} passed, ${failed} failed`);
    process.exitCode = failed ? 1 : 0;
}
main();
