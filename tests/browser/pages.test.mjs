// What it bears, and the pages beside the list: hostile text, Parse, Status.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SHOTS, axe, begin, found, open, settled, text, until } from './page.mjs';

begin();

test('hostile text is text', async () => {
  const page = await open('/?q=application:evil');
  await settled(page);
  const rows = await page.locator('.row .m').allInnerTexts();
  assert.match(rows[1], /U\+001B\[31mred/);
  assert.match(rows[1], /<img src=x onerror=alert\(1\)> U\+202Egnp\.exe/);
  assert.ok(rows[0].length < 2100, 'a long line is cut');
  assert.equal(await page.locator('#list img').count(), 0);
  await page.locator('.row').nth(1).click();
  await until(page, () => document.querySelector('.open .kv'));
  assert.match(await text(page, '.open .kv'), /<b>bold<\/b>/);
  await page.locator('.open .acts button[aria-label^="Only"]').last().click();
  await page.click('#ansi');
  await until(page, () => document.querySelector('.row .a-1')?.textContent === 'red');
  await page.close();
});

test('odd values go into the query and come back', async () => {
  const page = await open('/?q=application:evil');
  await settled(page);
  await page.locator('.row').nth(1).click();
  await page.locator('.open .acts button[aria-label*="a b"]').first().click();
  await until(page, () => document.querySelector('#q').value.includes('"metadata.a b":"x\\"y"'));
  await settled(page);
  assert.equal(await found(page), 1);
  await page.close();
});

test('parse: what lines become, and a pattern as the server reads it', async () => {
  const page = await open('/#parse', { expect: ['400'] });
  await until(page, () => document.querySelectorAll('#p-parse tbody tr').length > 8);
  assert.match(await text(page, '#p-parse'), /syslog_rfc5424/);
  const made = page.getByRole('region', { name: 'What the pattern makes' });
  // The example's last line is plain text but for the pattern.
  await until(page, () => /your pattern/.test(document.querySelector('#p-parse tbody tr:nth-child(4)').textContent));
  assert.match(await text(page, '#p-parse'), /Takes 1 of 4 lines/);
  assert.match(await made.locator('tr', { hasText: 'metadata.wait' }).innerText(), /5000\s+a number/);
  const [lines, pattern, shape] = [page.locator('#p-parse textarea'), page.locator('#p-parse input').nth(0), page.locator('#p-parse input').nth(1)];
  await lines.fill('WARNING 12 jobs late\n17.03.2026 04:05:06 all well');
  await pattern.fill('%{LOGLEVEL:level} %{INT:jobs:int} jobs');
  await until(page, () => /Takes 1 of 2 lines/.test(document.querySelector('#p-parse').textContent));
  assert.match(await made.locator('tr', { hasText: 'level' }).innerText(), /WARN/);
  await pattern.fill('(?P<timestamp>\\S+ \\S+) (?P<message>.*)');
  await shape.fill('%d.%m.%Y %H:%M:%S');
  await until(page, () => /2026-03-17 04:05:06/.test(document.querySelector('#p-parse tbody tr:nth-child(2)').textContent));
  // Where it is wrong, also behind what grok puts in.
  await pattern.fill('%{INT:n} (?P<x>(unclosed');
  await until(page, () => /unclosed group, at character \d+/.test(document.querySelector('#p-parse .bad')?.textContent));
  assert.equal(await text(page, '#p-parse .wave'), '(');
  await pattern.fill('%{INTEGER:n}');
  await until(page, () => /no grok pattern is called `INTEGER`, at character 1/.test(document.querySelector('#p-parse .bad')?.textContent));
  await pattern.fill('\\d+');
  await until(page, () => /no named group/.test(document.querySelector('#p-parse .bad')?.textContent));
  await page.close();
});

test('status says what runs, and nothing needs anyone', async () => {
  const page = await open('/#status');
  await until(page, () => document.querySelectorAll('#p-status tbody tr').length > 6);
  assert.match(await text(page, '#p-status h1'), /Taking logs\. Nothing needs you/);
  assert.match(await page.locator('#p-status tr', { hasText: 'Logboom' }).last().innerText(), /\d+\.\d+\.\d+/);
  assert.match(await page.locator('#p-status tr', { hasText: 'Store' }).last().innerText(), /Parquet files/);
  await page.close();
});

test('status says in plain words what needs someone: servers away, dead letters', async () => {
  const json = body => ({ contentType: 'application/json', body: JSON.stringify(body) });
  const log = { id: '019a739a-5400-7000-8000-04d2000004d2', timestamp: '2025-11-11T16:00:00.000000Z', level: 'ERROR', source: 'web-1', application: 'shop', message: '<b>bold</b>', metadata: {} };
  const local = { kind: 'local', depth: 4, oldest_seconds: 7.5, streams: [{ name: 'shard-0', batches: 4, bytes: 81920, oldest_seconds: 7.5 }] };
  const answers = {
    '/health': json({ status: 'degraded', version: '0.1.0', parts: { shards: { status: 'ok', detail: '1 taking logs' }, queue: { status: 'ok', detail: 'local log: 81920 of 4294967296 bytes wait for Redis' }, redis: { status: 'degraded', detail: 'redis 7.2.4 on 10.0.0.5:6379; connection refused (for 12 s)' }, postgres: { status: 'degraded', detail: 'postgres://logboom@10.0.0.6/logs; 12 records stored by this process; no answer (for 3 s)' } } }),
    '/queue/status': json({ kind: 'redis', depth: 12, oldest_seconds: 3.5, streams: [{ name: 'logboom:0', length: 12, pending: 2, oldest_seconds: 3.5, consumers: [{ name: 'a-1', pending: 2, idle_seconds: .2 }, { name: 'gone', pending: 0, idle_seconds: 9000 }] }], used_memory_bytes: 2400000, maxmemory_bytes: null, set_aside: 1, overflow: local }),
    '/dead-letters': json({ dead_letters: [{ id: log.id, failed_at: '2025-11-11T16:00:01.000000Z', reason: '22P05: unsupported Unicode escape sequence', batch_id: log.id, log }, { id: log.id, failed_at: '2025-11-11T16:00:01.000000Z', reason: 'no row', batch_id: log.id, log: null }], total: 2, next_cursor: null }),
  };
  for (const [width, height] of [[1280, 800], [390, 844]]) {
    const page = await open('/#status', { width, height, answers });
    await until(page, () => document.querySelectorAll('#p-status tbody tr').length > 6);
    const all = await page.locator('#p-status').innerText();
    for (const said of [/3 things need you/, /16 batches wait for the store, the oldest for 7\.5 s/, /Redis:/, /wait in the local log and go to Redis/, /POST \/data\/ is refused/, /2 records are in the dead letters/, /unsupported Unicode escape/, /logboom:0\s+12\s+2\s+3\.5 s\s+1\b/, /Redis uses 2\.4 MB/, /1 entry was set aside/, /replay --all/, /In the local log, for Redis/]) assert.match(all, said);
    if (width > 1000) assert.match(all, /<b>bold<\/b>/);
    await until(page, () => document.querySelector('#needs').textContent === '2');
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'it scrolls sideways');
    await axe(page, 'status in trouble');
    if (SHOTS) await page.screenshot({ path: `${SHOTS}/${width}-trouble.png` });
    await page.close();
  }
});

test('a server that is away is told of, on a phone too', async () => {
  for (const [width, height] of [[1280, 800], [390, 844]]) {
    const page = await open('/', { width, height, expect: ['Failed to load'] });
    await settled(page);
    await page.route(/\/(health|logs|stats|queue|metrics)/, route => route.abort('connectionrefused'));
    await page.fill('#q', 'order');
    await page.press('#q', 'Enter');
    await page.locator('.well', { hasText: /No answer for \d+ s, trying again/ }).waitFor({ state: 'visible' });
    assert.ok(await page.locator('.row').count() > 5, 'the list stays');
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await until(page, () => /Taking logs/.test(document.querySelector('.well').textContent));
    await page.close();
  }
});

test('the API to read and to try runs under its policy', async () => {
  const page = await open('/api/docs', { waits: false });
  await until(page, () => document.querySelectorAll('.opblock').length >= 20);
  await page.locator('.opblock', { hasText: '/stats/facets' }).first().click();
  await until(page, () => document.querySelector('.opblock.is-open')?.textContent.includes('metadata.KEY'));
  await page.close();
});
