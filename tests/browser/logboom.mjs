// A real logboom on a free port with a folder of its own, and a browser to look at it.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const BINARY = process.env.LOGBOOM_BINARY ?? new URL('../../target/debug/logboom', import.meta.url).pathname;
// What every server is started with besides, such as the addresses of Redis and Postgres.
const FLAGS = process.env.LOGBOOM_FLAGS?.split(' ') ?? [];
const sleep = ms => new Promise(done => setTimeout(done, ms));

export class Logboom {
  static async start(...flags) {
    const server = new Logboom();
    server.folder = mkdtempSync(join(tmpdir(), 'logboom-browser-'));
    server.flags = flags;
    await server.run('127.0.0.1:0');
    return server;
  }
  async run(listen) {
    rmSync(join(this.folder, 'listen'), { force: true });
    this.child = spawn(BINARY, ['serve', '--listen', listen, '--data-dir', this.folder, ...FLAGS, ...this.flags], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.errors = '';
    this.child.stderr.on('data', text => { this.errors += text; });
    for (let tries = 0; tries < 600 && !existsSync(join(this.folder, 'listen')); tries++) await sleep(50);
    this.address = readFileSync(join(this.folder, 'listen'), 'utf8').trim();
    this.url = `http://${this.address}`;
    for (let tries = 0; tries < 600; tries++) { if (await fetch(this.url + '/health').then(r => r.ok, () => false)) return; await sleep(50); }
    throw new Error('logboom does not answer: ' + this.errors);
  }
  async end() { const ended = new Promise(done => this.child.once('exit', done)); this.child.kill('SIGTERM'); await ended; }
  async restart(pause = 0) { await this.end(); await sleep(pause); await this.run(this.address); }
  async stop() { await this.end(); rmSync(this.folder, { recursive: true, force: true }); }
  async send(records) {
    const response = await fetch(this.url + '/data/batch', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(records) });
    if (response.status !== 202) throw new Error(await response.text());
  }
}

// One night's story, the same every time: `count` records within the last hour, trouble in their last quarter. The tests of
// a file have ten minutes before the first of them is older than an hour.
export function story(count, now = Date.now()) {
  let seed = 20260317;
  const random = () => { seed = (seed * 1103515245 + 12345) & 0x7fffffff; return seed / 0x7fffffff; }, pick = list => list[Math.floor(random() * list.length)];
  const calm = [['INFO', 'nginx', 'edge-fra-1', o => `POST /api/orders/${o} HTTP/1.1 201 412 31ms`], ['INFO', 'checkout', 'checkout-7d4f-k2xq', o => `order ${o} placed: 3 items, 61.40 EUR`], ['DEBUG', 'checkout', 'checkout-7d4f-m9tz', o => `order ${o}: cart lock released after 12 ms`], ['INFO', 'payments', 'payments-5c9b-q1lw', o => `order ${o} captured, provider answered in 212 ms`], ['TRACE', 'orders', 'orders-eu-2', () => 'enter handler']];
  const bad = [['WARN', 'payments', 'payments-5c9b-x8f2', o => `order ${o}: waited 4870 ms for a connection to payments-primary`], ['ERROR', 'payments', 'payments-5c9b-x8f2', o => `order ${o}: pool timeout after 5000 ms, payments-primary has 64 of 64 in use`], ['ERROR', 'nginx', 'edge-fra-2', o => `POST /api/orders/${o}/pay HTTP/1.1 502 157 5.001s`], ['FATAL', 'orders', 'orders-eu-2', () => 'order writer gave up after 5 tries, exiting with 70']];
  return Array.from({ length: count }, (_, i) => {
    const t = now - 3000e3 * (1 - i / count), trouble = i > count * .77 && random() < .5, [level, application, source, message] = pick(trouble ? bad : calm), order = 84100 + Math.floor(random() * 900);
    return { timestamp: new Date(t).toISOString(), level, source, application, message: message(order), metadata: { order_id: order, region: pick(['eu-central-1', 'eu-central-1', 'us-east-1']), http: { status: trouble ? 502 : 200 } } };
  });
}

export async function browser() {
  // A chromium with a network of its own would ask about updates; this one asks nobody.
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] });
}
