// Runs a script of the documents in a page of the server, and prints what it logs: node console.mjs URL FILE
import { readFileSync } from 'node:fs';
import { browser } from './logboom.mjs';

const [url, file] = process.argv.slice(2);
const page = await (await browser()).newPage({ bypassCSP: true });
await page.goto(url + '/api/openapi.json');
page.on('console', message => console.log(message.text()));
page.on('pageerror', error => { console.error(error.stack); process.exit(1); });
await page.evaluate(readFileSync(file, 'utf8'));
