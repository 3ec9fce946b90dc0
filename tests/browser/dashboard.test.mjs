// What a person does with the dashboard, in a real Chromium against a real logboom.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Logboom, browser, story } from './logboom.mjs';

const COUNT = 4000, AXE = readFileSync(new URL('./node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const SHOTS = process.env.SHOTS;
let logboom, chrome;
before(async () => {
  logboom = await Logboom.start();
  await logboom.send(story(COUNT));
  await logboom.send([
    { timestamp: new Date(Date.now() - 1500).toISOString(), level: 'INFO', source: 'hostile-1', application: 'evil', message: '\u001b[31mred\u001b[0m <img src=x onerror=alert(1)> \u202egnp.exe\nsecond line', metadata: { 'a b': 'x"y', html: '<b>bold</b>', nested: { deep: [1, 2] } } },
    { timestamp: new Date(Date.now() - 1400).toISOString(), level: 'INFO', source: 'hostile-1', application: 'evil', message: 'L' + 'X'.repeat(900000), metadata: {} },
  ]);
  chrome = await browser();
  if (SHOTS) mkdirSync(SHOTS, { recursive: true });
});
after(async () => { await chrome?.close(); await logboom?.stop(); });

// A page that fails the test on any error in it.
async function open(path = '/', { width = 1280, height = 800, scheme = 'light', expect = [] } = {}) {
  const context = await chrome.newContext({ viewport: { width, height }, colorScheme: scheme, acceptDownloads: true, reducedMotion: 'reduce', permissions: ['clipboard-read', 'clipboard-write'] });
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', error => page.faults.push(error.stack));
  page.on('console', message => { if (message.type() === 'error' && !expect.some(e => message.text().includes(e))) page.faults.push(message.text()); });
  page.on('dialog', dialog => { page.faults.push('a dialog: ' + dialog.message()); dialog.dismiss(); });
  await page.goto(logboom.url + path);
  await page.waitForFunction(() => document.querySelector('.found b')?.textContent || !document.querySelector('#nothing').hidden || document.querySelector('.page:not([hidden]) h1'));
  page.close = async () => { assert.deepEqual(page.faults, []); await context.close(); };
  return page;
}
const text = (page, selector) => page.locator(selector).first().innerText();
const found = async page => Number((await text(page, '.found b')).replace(/\D/g, ''));
const q = page => page.inputValue('#q');
const until = (page, run, arg) => page.waitForFunction(run, arg, { timeout: 8000 });
const settled = page => page.waitForFunction(() => { const now = document.querySelector('.found').textContent + location.href; const same = window.lastSeen === now; window.lastSeen = now; return same && !document.querySelector('.loading'); }, null, { polling: 300 });
async function axe(page, what) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] }));
  assert.deepEqual(violations.map(v => `${what}: ${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 200)).join(' | ')}`), []);
}

test('loads: figures, chart, facets, the newest records first', async () => {
  const page = await open();
  await settled(page);
  assert.equal(await found(page), COUNT + 2);
  assert.match(await text(page, '#strip'), /Records/);
  assert.ok(await page.locator('.plot rect.f-ERROR').count() > 3);
  assert.ok(await page.locator('.facets li').count() > 8);
  const times = await page.locator('.row .t').allInnerTexts();
  assert.deepEqual(times, [...times].sort().reverse());
  await page.close();
});

test('a word and a facet narrow the search, and the link shows the same', async () => {
  const page = await open();
  await page.fill('#q', '"pool timeout"');
  await page.press('#q', 'Enter');
  await until(page, () => document.querySelector('.row mark')?.textContent === 'pool timeout');
  await settled(page);
  const all = await found(page);
  await page.locator('.facets .only', { hasText: 'payments-5c9b-x8f2' }).first().click();
  await until(page, () => document.querySelector('#q').value.includes('source:payments-5c9b-x8f2'));
  await page.locator('.facets .only', { hasText: 'payments-5c9b-x8f2' }).first().click();
  await until(page, () => !document.querySelector('#q').value.includes('source:'));
  await page.locator('.facets li', { hasText: 'us-east-1' }).hover();
  await page.locator('.facets li', { hasText: 'us-east-1' }).locator('.not').click();
  await until(page, () => document.querySelector('#q').value === '"pool timeout" -region:us-east-1');
  await settled(page);
  const less = await found(page);
  assert.ok(less > 0 && less < all, `${less} of ${all}`);
  const other = await open(new URL(page.url()).search);
  await settled(other);
  assert.equal(await q(other), '"pool timeout" -region:us-east-1');
  assert.equal(await found(other), less);
  await other.close();
  await page.goBack();
  await until(page, () => document.querySelector('#q').value === '"pool timeout"');
  await page.close();
});

test('levels: legend out, facet in, both are one set', async () => {
  const page = await open();
  await settled(page);
  await page.locator('.legend button', { hasText: 'Info' }).click();
  await until(page, () => document.querySelector('#q').value === '-level:INFO');
  await page.locator('.facets .only', { hasText: 'Error' }).click();
  await page.locator('.facets .only', { hasText: 'Fatal' }).click();
  await until(page, () => document.querySelector('#q').value === 'level:(ERROR,FATAL) -level:INFO');
  await settled(page);
  assert.deepEqual([...new Set(await page.locator('.row .ln').allInnerTexts())].filter(l => l !== 'ERROR' && l !== 'FATAL'), []);
  await page.close();
});

test('a span is dragged out of the chart, and zoomed out again', async () => {
  const page = await open();
  await settled(page);
  const box = await page.locator('.plot').boundingBox(), all = await found(page);
  await page.mouse.move(box.x + box.width * .7, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * .95, box.y + 40, { steps: 5 });
  await page.mouse.up();
  assert.match(await text(page, '.read'), /records.*errors/);
  await page.locator('.read button', { hasText: 'Zoom' }).click();
  await until(page, () => /from=20/.test(location.search));
  await settled(page);
  const part = await found(page);
  assert.ok(part > 0 && part < all * .5, `${part} of ${all}`);
  await page.locator('.plot').focus();
  await page.keyboard.press('0');
  await until(page, () => !/from=20/.test(location.search));
  await page.locator('.plot').focus();
  for (const key of ['ArrowLeft', 'Shift+ArrowLeft', 'Shift+ArrowLeft', 'Enter']) await page.keyboard.press(key);
  await until(page, () => /from=20/.test(location.search));
  await page.close();
});

test('a row opens to fields, JSON and its neighbours; a value goes into the query', async () => {
  const page = await open('/?q=level:FATAL');
  await settled(page);
  await page.locator('.row').first().click();
  await until(page, () => document.querySelectorAll('.open .ctx li').length > 2);
  assert.match(await text(page, '.open .kv'), /order_id/);
  assert.match(page.url(), /open=[0-9a-f-]{36}/);
  const shown = await page.locator('.open .ctx li').count();
  await page.locator('.open button', { hasText: '20 earlier' }).click();
  await until(page, before => document.querySelectorAll('.open .ctx li').length > before, shown);
  await page.locator('.open [data-t=json]').first().click();
  assert.match(await text(page, '.open .json'), /"metadata": \{/);
  await page.locator('.open [data-t=fields]:visible').first().click();
  const linked = await open(new URL(page.url()).search);
  await until(linked, () => document.querySelector('.open .ctx li'));
  await linked.close();
  await page.locator('.open .acts button[aria-label^="Only region:"]').click();
  await until(page, () => /^level:FATAL region:/.test(document.querySelector('#q').value));
  await page.close();
});

test('the list is virtual: tens of thousands of rows, a few nodes', async () => {
  const page = await open();
  await settled(page);
  for (let i = 0; i < 12; i++) { await page.evaluate(() => { const l = document.querySelector('#list'); l.scrollTop = l.scrollHeight; }); await page.waitForTimeout(120); }
  await until(page, want => Number(document.querySelector('#list').getAttribute('aria-rowcount')) >= want, COUNT + 2);
  assert.ok(await page.locator('.item').count() < 300);
  const last = await page.locator('.row .t').last().innerText(), first = await page.locator('.row .t').first().innerText();
  assert.ok(last < first);
  await page.keyboard.press('Home');
  await until(page, () => document.querySelector('#list').scrollTop < 10);
  await page.close();
});

test('keys alone: search, move, open, next error, help', async () => {
  const page = await open();
  await settled(page);
  await page.keyboard.press('/');
  await page.keyboard.type('order ');
  await until(page, () => !document.querySelector('#complete').hidden);
  await page.keyboard.press('Enter');
  await until(page, () => location.search.includes('q=order'));
  await settled(page);
  for (const key of ['j', 'j', 'j', 'k']) await page.keyboard.press(key);
  await until(page, () => document.querySelector('.row.cur')?.getAttribute('aria-rowindex') === '3');
  await page.keyboard.press('e');
  await until(page, () => /is-(ERROR|FATAL)/.test(document.querySelector(".row.cur")?.className));
  await page.keyboard.press('Enter');
  await until(page, () => document.querySelector('.open .ctx li'));
  await page.keyboard.press('Escape');
  await until(page, () => !document.querySelector('.open'));
  await page.keyboard.press('?');
  assert.ok(await page.locator('#help').isVisible());
  await page.keyboard.press('Escape');
  await until(page, () => !document.querySelector('#help').open);
  await page.keyboard.press('w');
  await until(page, () => /wrap=1/.test(location.search));
  await page.keyboard.press('y');
  await until(page, () => !document.querySelector('#say').hidden);
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^20\S+Z (ERROR|FATAL) /);
  await page.keyboard.press('g');
  await page.keyboard.press('s');
  await until(page, () => location.hash === '#status' && document.querySelector('#p-status h1'));
  await page.close();
});

test('completion offers fields and values', async () => {
  const page = await open();
  await settled(page);
  await page.click('#q');
  await page.keyboard.type('app');
  await until(page, () => /application:payments/.test(document.querySelector('#complete').textContent));
  await page.keyboard.type('lication:pay');
  await until(page, () => /Values of application/.test(document.querySelector('#complete').textContent));
  await page.keyboard.press('Tab');
  await until(page, () => document.querySelector('#q').value.trim() === 'application:payments');
  await page.close();
});

test('a broken query is underlined, and the list keeps the last good one', async () => {
  const page = await open('/?q=order', { expect: ['400'] });
  await settled(page);
  const before = await page.locator('.row').count();
  await page.fill('#q', 'order (broken');
  await page.press('#q', 'Enter');
  await until(page, () => !document.querySelector('#q-note').hidden);
  assert.match(await text(page, '#q-note'), /never closed/);
  assert.ok(await page.locator('.mirror .bad').count() > 0);
  assert.equal(await page.locator('.row').count(), before);
  await page.close();
});

test('a range that ends before it begins says so', async () => {
  const page = await open();
  await page.keyboard.press('t');
  await page.fill('#range input[aria-label=From]', '2026-03-17 10:00');
  await page.fill('#range input[aria-label=To]', '2026-03-17 09:00');
  await page.locator('#range .go').click();
  assert.match(await text(page, '#range'), /ends before it begins/);
  await page.fill('#range input[aria-label=From]', 'noon');
  await page.locator('#range .go').click();
  assert.match(await text(page, '#range'), /“noon” is no time/);
  await page.fill('#range input[aria-label=From]', '-90m');
  await page.fill('#range input[aria-label=To]', 'now');
  await page.locator('#range .go').click();
  await until(page, () => location.search.includes('from=-90m'));
  await page.close();
});

test('nothing found: what would match', async () => {
  const page = await open('/?q=order "card declined"');
  await until(page, () => document.querySelectorAll('#nothing li').length > 0);
  await page.locator('#nothing button', { hasText: 'Without "card declined"' }).click();
  await until(page, () => document.querySelector('#q').value === 'order');
  await page.close();
});

test('live: rows come, reading pauses, resuming shows what waited', async () => {
  const page = await open('/?q=application:tail');
  await page.click('#live');
  await until(page, () => document.querySelector('#live .word').textContent === 'Live');
  const send = n => logboom.send(Array.from({ length: n }, (_, i) => ({ level: i % 2 ? 'ERROR' : 'INFO', source: 'tail-1', application: 'tail', message: `tail ${i} of ${n}` })));
  await send(100);
  await until(page, () => document.querySelector('#list').getAttribute('aria-rowcount') === '101');
  await page.evaluate(() => { document.querySelector('#list').scrollTop = 400; });
  await until(page, () => document.querySelector('#live .word').textContent === 'Paused');
  const stays = await page.locator('.row .m').nth(15).innerText();
  await send(40);
  await until(page, () => /40 new above, 20 of them errors/.test(document.querySelector('#waiting').textContent));
  assert.equal(await page.locator('.row .m').nth(15).innerText(), stays);
  await page.keyboard.press('l');
  await until(page, () => document.querySelector('#list').getAttribute('aria-rowcount') === '141' && document.querySelector('#list').scrollTop < 10);
  await page.keyboard.press('l');
  await until(page, () => document.querySelector('#live').dataset.s === 'off');
  await page.close();
});

test('a restart while watching: it says so, comes back, and fills the gap', async () => {
  const page = await open('/?q=application:gap&live=1', { expect: ['ERR_CONNECTION_REFUSED', 'WebSocket', '503', 'Failed to load'] });
  await until(page, () => document.querySelector('#live .word').textContent === 'Live');
  const send = text => logboom.send([{ level: 'INFO', source: 'gap-1', application: 'gap', message: text }]);
  await send('before');
  await until(page, () => /before/.test(document.querySelector('#list').textContent));
  await logboom.restart(2500);
  await send('between');
  await until(page, () => document.querySelector('#live .word').textContent === 'Live' && /between/.test(document.querySelector('#list').textContent));
  await send('after');
  await until(page, () => /after/.test(document.querySelector('#list').textContent));
  assert.deepEqual(await page.locator('.row .m').allInnerTexts(), ['after', 'between', 'before']);
  await until(page, () => /Taking logs/.test(document.querySelector('.well').textContent));
  await page.close();
});

test('a saved view comes back by its key', async () => {
  const page = await open('/?q=level:FATAL&from=-15m');
  await page.keyboard.press('v');
  await page.fill('#views input', 'What hurts');
  await page.keyboard.press('Enter');
  await until(page, () => document.querySelector('[data-pop=views]').textContent.includes('What hurts'));
  await page.goto(logboom.url + '/');
  await settled(page);
  await page.keyboard.press('g');
  await page.keyboard.press('1');
  await until(page, () => document.querySelector('#q').value === 'level:FATAL' && location.search.includes('-15m'));
  await page.close();
});

test('export gives all that is found', async () => {
  const page = await open('/?q=level:ERROR');
  await settled(page);
  const count = await found(page);
  for (const [format, lines] of [['ndjson', count], ['csv', count + 1]]) {
    await page.locator('[data-pop=export]').click();
    const [download] = await Promise.all([page.waitForEvent('download'), page.locator(`#export a[download="logs.${format}"]`).click()]);
    assert.equal(readFileSync(await download.path(), 'utf8').trimEnd().split(format === 'csv' ? '\r\n' : '\n').length, lines, format);
  }
  await page.close();
});

test('columns are chosen, and the link has them', async () => {
  const page = await open('/?q=order');
  await settled(page);
  await page.locator('[data-pop=columns]').click();
  await page.locator('#columns label', { hasText: 'metadata.region' }).locator('input').check();
  await page.locator('#columns label', { hasText: 'application' }).locator('input').uncheck();
  await until(page, () => document.querySelector('.head').textContent.includes('region') && !document.querySelector('.head').textContent.includes('Application'));
  assert.match(decodeURIComponent(page.url()), /cols=level,timestamp,source,metadata.region/);
  assert.match(await page.locator('.row .x').nth(3).innerText(), /-1$/);
  await page.close();
});

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

test('parse: what lines become, and a pattern', async () => {
  const page = await open('/#parse');
  await until(page, () => document.querySelectorAll('#p-parse tbody tr').length > 4);
  assert.match(await text(page, '#p-parse'), /syslog_rfc5424/);
  await page.fill('#p-parse textarea', 'WARN 12 jobs late');
  await page.fill('#p-parse input', '%{LOGLEVEL:level} %{INT:jobs} jobs');
  await until(page, () => /Takes 1 of 1 lines\. 2 fields: level, jobs/.test(document.querySelector('#p-parse').textContent));
  await page.fill('#p-parse input', '(unclosed');
  await until(page, () => document.querySelector('#p-parse .bad'));
  await page.close();
});

test('status says what runs', async () => {
  const page = await open('/#status');
  await until(page, () => document.querySelectorAll('#p-status tbody tr').length > 6);
  assert.match(await text(page, '#p-status h1'), /Taking logs/);
  await page.close();
});

test('first paint and a filter are quick, and the page is small', async () => {
  const page = await open();
  await settled(page);
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime);
  const size = await page.evaluate(() => performance.getEntriesByType('resource').filter(r => /\.(js|css|svg)$/.test(r.name)).reduce((n, r) => n + r.decodedBodySize, 0) + performance.getEntriesByType('navigation')[0].decodedBodySize);
  assert.ok(size < 200_000, `${size} bytes`);
  assert.ok(paint < 1500, `first paint after ${paint} ms`);
  console.log(`first contentful paint ${paint.toFixed(0)} ms, ${size} bytes`);
  await page.close();
});

for (const scheme of ['light', 'dark']) for (const [width, height] of [[390, 844], [1280, 800], [1920, 1080]]) test(`${width} pixels, ${scheme}: nothing is wider than the screen, axe finds nothing`, async () => {
  const page = await open('/?q=order', { width, height, scheme });
  await settled(page);
  await page.locator('.row').nth(2).click();
  await until(page, () => document.querySelector('.open .ctx li'));
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'it scrolls sideways');
  if (SHOTS) await page.screenshot({ path: `${SHOTS}/${width}x${height}-${scheme}.png` });
  await axe(page, 'logs');
  for (const hash of ['#status', '#parse']) {
    await page.evaluate(hash => { location.hash = hash; }, hash);
    await until(page, hash => document.querySelector(`#p-${hash.slice(1)} tbody tr`), hash);
    if (SHOTS) await page.screenshot({ path: `${SHOTS}/${width}x${height}-${scheme}-${hash.slice(1)}.png` });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), hash + ' scrolls sideways');
    await axe(page, hash);
  }
  await page.close();
});

test('axe finds nothing in menus, help, completion, errors', async () => {
  const page = await open('/', { expect: ['400'] });
  await settled(page);
  for (const id of ['views', 'range', 'columns', 'export']) { await page.locator(`[data-pop=${id}]`).click(); await axe(page, id); await page.keyboard.press('Escape'); }
  await page.keyboard.press('?');
  await axe(page, 'help');
  await page.keyboard.press('Escape');
  await page.click('#q');
  await page.keyboard.type('(');
  await until(page, () => !document.querySelector('#complete').hidden);
  await axe(page, 'completion');
  await page.keyboard.press('Enter');
  await until(page, () => !document.querySelector('#q-note').hidden);
  await axe(page, 'a broken query');
  await page.close();
});
