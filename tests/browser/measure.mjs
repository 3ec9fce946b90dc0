// How quick the page is, asked of a running server: node measure.mjs http://127.0.0.1:5000 [paint] [filter] [live]
// paint: first contentful paint and the page's bytes. filter: from Enter to the rows on the screen. live: frames, long
// tasks, keys and heap while RATE records a second arrive, which this sends itself for SECONDS.
import { createServer } from 'node:http';
import { browser } from './logboom.mjs';
const [url = 'http://127.0.0.1:5000', ...chosen] = process.argv.slice(2), is = part => !chosen.length || chosen.includes(part);
const PAINTS = Number(process.env.PAINTS ?? 15), TIMES = 5, QUERIES = (process.env.QUERIES ?? 'timed out|level:>=error|session expired|user_id:77|application:mail-api|disk usage|-level:info timed').split('|');
const LIVE_RATE = Number(process.env.RATE ?? 10000), LIVE_SECONDS = Number(process.env.SECONDS ?? 30), EVERY_MS = 50;
const at = (list, share) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * share))], median = list => at(list, .5);
const ms = n => n.toFixed(0), sleep = time => new Promise(done => setTimeout(done, time));
const chrome = await browser();
const open = async () => (await chrome.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
const idle = page => page.waitForFunction(() => document.querySelector('.results').getAttribute('aria-busy') === 'false');

// First contentful paint: of a browser's first look, with nothing kept, and of the same window again, as a person opens it
// all day. The floor is a line of text from a bare server: what this machine's browser needs for anything. BESIDE is a
// further server, as of the commit before. All take turns, so that what else the machine does falls on each alike.
async function paints(addresses) {
  const painted = page => page.waitForFunction(() => performance.getEntriesByName('first-contentful-paint').length).then(() => page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime));
  const rest = page => page.waitForFunction(() => { const results = document.querySelector('.results'); return !results || results.getAttribute('aria-busy') === 'false'; });
  const figures = addresses.map(() => ({ first: [], again: [], rows: [], bytes: 0 }));
  for (let i = 0; i < PAINTS; i++) for (const [at, address] of addresses.entries()) {
    const page = await open(), mine = figures[at];
    await page.addInitScript(() => { new MutationObserver(() => { if (document.querySelector('.row')) requestAnimationFrame(() => { window.rowsAt ??= performance.now(); }); }).observe(document, { childList: true, subtree: true }); });
    await page.goto(address);
    mine.first.push(await painted(page));
    await rest(page);
    mine.rows.push(await page.evaluate(() => window.rowsAt ?? 0));
    mine.bytes = await page.evaluate(() => [...performance.getEntriesByType('resource').filter(r => /\.(js|css|svg)$/.test(r.name)), ...performance.getEntriesByType('navigation')].reduce((n, r) => n + r.decodedBodySize, 0));
    await page.goto('about:blank');
    await page.goto(address);
    mine.again.push(await painted(page));
    await rest(page);
    await page.context().close();
  }
  return figures;
}
const spread = list => `median ${ms(median(list))} ms (quartiles ${ms(at(list, .25))} and ${ms(at(list, .75))}, worst ${ms(Math.max(...list))})`;
if (is('paint')) {
  const bare = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<!doctype html><title>x</title><p>hello')).listen(0, '127.0.0.1');
  await new Promise(done => bare.once('listening', done));
  const addresses = [`http://127.0.0.1:${bare.address().port}/`, ...[url, process.env.BESIDE].filter(Boolean).map(url => url + '/?from=-1h')];
  for (const [i, { first, again, rows, bytes }] of (await paints(addresses)).entries()) console.log(`${i ? addresses[i] : 'floor, a line of text'} (${bytes} bytes), ${PAINTS} times each: first contentful paint with nothing kept ${spread(first)}, rows painted ${spread(rows)}; in the same window again ${spread(again)}`);
  bare.close();
}

if (is('filter')) {
  const page = await open();
  await page.goto(url + '/?all=1');
  await idle(page);
  const total = await page.evaluate(() => fetch('/stats').then(r => r.json()).then(s => s.total));
  console.log(`filters over ${total} records, ${TIMES} times each`);
  // From Enter to the frame after the one that has the new rows; the rest of the page follows.
  const run = text => page.evaluate(q => new Promise(done => {
    const input = document.querySelector('#q'), space = document.querySelector('.space'), started = performance.now(), seen = new MutationObserver(() => { seen.disconnect(); requestAnimationFrame(() => done(performance.now() - started)); });
    seen.observe(space, { childList: true, subtree: true });
    input.focus();
    input.value = q;
    input.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
  }), text);
  for (const q of QUERIES) {
    const took = [], all = [], server = [];
    for (let i = 0; i < TIMES; i++) {
      const answered = page.waitForResponse(r => new URL(r.url()).pathname === '/logs/'), started = performance.now();
      took.push(await run(q));
      server.push(Number(/query;dur=([\d.]+)/.exec((await answered).headers()['server-timing'])?.[1]));
      await idle(page);
      all.push(performance.now() - started);
      await run('');
      await idle(page);
    }
    console.log(`${q}: rows after ${ms(median(took))} ms (worst ${ms(Math.max(...took))}), of it the query ${ms(median(server))} ms; counts, chart and facets too after ${ms(median(all))} ms`);
  }
  await page.context().close();
}

if (is('live')) {
  const page = await open(), cdp = await page.context().newCDPSession(page);
  // What the tail brings is counted where it comes in, so that what is listed can be held against it.
  await page.addInitScript(() => {
    const seen = window.seen = { logs: 0, skipped: 0, gaps: [], tasks: [], events: [], breaks: new Set() }, Socket = window.WebSocket;
    window.WebSocket = class extends Socket { constructor(...all) { super(...all); this.addEventListener('message', event => { const count = /^\{"type":"skipped","count":(\d+)/.exec(event.data); if (count) seen.skipped += Number(count[1]); else seen.logs += event.data.split('"timestamp":').length - 1; }); } };
    new PerformanceObserver(list => seen.tasks.push(...list.getEntries().map(e => e.duration))).observe({ type: 'longtask' });
    new PerformanceObserver(list => seen.events.push(...list.getEntries().filter(e => e.name === 'keydown' || e.name === 'click').map(e => e.duration))).observe({ type: 'event', durationThreshold: 16 });
    let last = 0;
    const frame = now => { if (last) seen.gaps.push(now - last); last = now; requestAnimationFrame(frame); };
    requestAnimationFrame(frame);
  });
  await page.goto(url + '/?live=1&' + (process.env.RANGE ?? 'all=1'));
  await idle(page);
  await page.waitForFunction(() => document.querySelector('#live .word').textContent === 'Live');
  const stored = await page.evaluate(() => fetch('/stats').then(r => r.json()).then(s => s.total));
  const heap = async () => { await cdp.send('HeapProfiler.collectGarbage'); return (await cdp.send('Runtime.getHeapUsage')).usedSize / 1e6; };
  const levels = ['INFO', 'INFO', 'INFO', 'DEBUG', 'WARN', 'ERROR'], count = LIVE_RATE * EVERY_MS / 1000;
  // Made before, so that making them takes nothing from the page.
  const bodies = Array.from({ length: 20 }, (_, b) => JSON.stringify(Array.from({ length: count }, (_, i) => ({ level: levels[i % 6], source: `web-${i % 20}`, application: 'shop', message: `GET /api/orders/${b * count + i} 200 in ${i % 90} ms`, metadata: { user: i % 1000 } }))));
  const heapBefore = await heap();
  await page.evaluate(() => { for (const list of ['gaps', 'tasks', 'events']) window.seen[list].length = 0; });
  if (process.env.PROFILE) { await cdp.send('Profiler.enable'); await cdp.send('Profiler.start'); }
  let sent = 0, pressing = null;
  // What a person does meanwhile, each one heard by the browser as from a keyboard: help opens and closes, lines wrap and not.
  const keys = ['?', 'Escape', 'w', 'w'];
  const started = performance.now();
  for (let turn = 0; performance.now() - started < LIVE_SECONDS * 1000; turn++) {
    const answer = await fetch(url + '/data/batch', { method: 'POST', headers: { 'content-type': 'application/json' }, body: bodies[turn % bodies.length] });
    if (answer.status !== 202) throw new Error(await answer.text());
    sent += count;
    if (turn % 10 === 5) pressing = page.keyboard.press(keys[(turn - 5) / 10 % keys.length]);
    await sleep(Math.max(0, started + (turn + 1) * EVERY_MS - performance.now()));
  }
  const seconds = (performance.now() - started) / 1000;
  await pressing;
  const held = await page.evaluate(() => structuredClone(window.seen));
  if (process.env.PROFILE) {
    const { profile } = await cdp.send('Profiler.stop'), self = new Map(), name = new Map(profile.nodes.map(n => [n.id, `${n.callFrame.functionName || '?'} ${n.callFrame.url.split('/').pop()}:${n.callFrame.lineNumber + 1}`]));
    profile.samples.forEach((id, i) => self.set(name.get(id), (self.get(name.get(id)) ?? 0) + profile.timeDeltas[i] / 1000));
    for (const [what, time] of [...self].sort((a, b) => b[1] - a[1]).slice(0, 15)) console.log(`  ${ms(time)} ms ${what}`);
  }
  await sleep(1500);
  const heapAfter = await heap(), { gaps, tasks, events } = held;
  const shown = await page.evaluate(() => ({ logs: window.seen.logs, skipped: window.seen.skipped, rows: Number(document.querySelector('#list').getAttribute('aria-rowcount')) - 1, nodes: document.querySelectorAll('.item').length, all: document.querySelectorAll('*').length }));
  console.log(`live at ${ms(sent / seconds)} records/s for ${ms(seconds)} s over ${stored} records:
  frames every ${ms(median(gaps))} ms in the median, ${ms(at(gaps, .99))} at 99 %, ${ms(Math.max(...gaps))} at worst (${gaps.length} of them, ${gaps.filter(gap => gap > 50).length} over 50 ms)
  tasks over 50 ms: ${tasks.length}, the longest ${tasks.length ? ms(Math.max(...tasks)) + ' ms' : 'none'}
  a key is painted after ${events.length ? `${ms(median(events))} ms in the median, ${ms(Math.max(...events))} at worst (${events.length} that took 16 ms or more)` : 'less than 16 ms'}
  of ${sent} records ${shown.logs} came (${ms(shown.logs / seconds)}/s), ${shown.skipped} were skipped; ${shown.rows} rows in ${shown.nodes} nodes, ${shown.all} elements in all
  heap ${ms(heapBefore)} MB before, ${ms(heapAfter)} MB after`);
  await page.context().close();
}
await chrome.close();
