// Watching, keeping, sharing: live tail, restart, views, links, export, keys.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { PATIENCE_MS, begin, found, open, server, settled, text, until } from './page.mjs';

begin();

test('live: rows come, reading pauses, resuming shows what waited', async () => {
  const page = await open('/?q=application:tail');
  await page.click('#live');
  await until(page, () => document.querySelector('#live .word').textContent === 'Live');
  const send = n => server().send(Array.from({ length: n }, (_, i) => ({ level: i % 2 ? 'ERROR' : 'INFO', source: 'tail-1', application: 'tail', message: `tail ${i} of ${n}` })));
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
  const send = text => server().send([{ level: 'INFO', source: 'gap-1', application: 'gap', message: text }]);
  await send('before');
  await until(page, () => /before/.test(document.querySelector('#list').textContent));
  await server().restart(2500);
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
  await page.goto(server().url + '/');
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

test('a copied link shows the same to someone else, tomorrow too', async () => {
  const page = await open('/?q=level:ERROR&from=-15m');
  await settled(page);
  const count = await found(page);
  await page.keyboard.press('s');
  await until(page, () => !document.querySelector('#say').hidden);
  const link = new URL(await page.evaluate(() => navigator.clipboard.readText()));
  assert.match(link.search, /from=20.*&to=20/);
  await server().send([{ level: 'ERROR', source: 'later-1', application: 'later', message: 'after the link was copied' }]);
  const other = await open(link.pathname + link.search);
  await settled(other);
  assert.deepEqual([await other.inputValue('#q'), await found(other)], ['level:ERROR', count]);
  await other.close();
  await page.close();
});

test('the tail is too fast for a page that is held up: it says what it skipped, and loads it', async () => {
  const page = await open('/?q=application:flood&live=1');
  await until(page, () => document.querySelector('#live .word').textContent === 'Live');
  // A page that does nothing until all is there, as a phone in a pocket; one frame holds 256 KiB.
  const TURNS = 8, filler = 'x'.repeat(2000), records = Array.from({ length: 1500 }, (_, i) => ({ level: 'INFO', source: 'flood-1', application: 'flood', message: `${i} ${filler}` }));
  const held = page.evaluate(all => {
    for (let total = 0; total < all;) { const asked = new XMLHttpRequest(); asked.open('GET', '/stats?q=application:flood', false); asked.send(); total = JSON.parse(asked.responseText).total; }
    for (const until = performance.now() + 500; performance.now() < until;);
  }, TURNS * records.length);
  for (let i = 0; i < TURNS; i++) await server().send(records);
  await held;
  // Where the list says so may be out of view by the time that it is painted. Scrolling there pauses the tail, so that it
  // stays in view; what has come meanwhile is looked through after `l`.
  const look = () => page.evaluate(async () => {
    const list = document.querySelector('#list'), frame = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    for (let top = 30; top < list.scrollHeight; top += list.clientHeight) {
      list.scrollTop = top;
      await frame();
      if (document.querySelector('.break')) return true;
    }
    return false;
  });
  for (const end = Date.now() + PATIENCE_MS; !await look();) {
    assert.ok(Date.now() < end, 'it does not say that it skipped any');
    if (await text(page, '#live .word') === 'Paused') await page.keyboard.press('l');
    await page.waitForTimeout(100);
  }
  const gap = page.locator('.break').first(), told = (await gap.innerText()).split(' skipped')[0], rows = () => page.evaluate(() => Number(document.querySelector('#list').getAttribute('aria-rowcount')));
  const least = await rows() - 1 + Number(told.replace(/\D/g, ''));
  await gap.locator('button', { hasText: 'Load them' }).click();
  await until(page, ([told, least]) => !document.querySelector('#list').textContent.includes(told) && Number(document.querySelector('#list').getAttribute('aria-rowcount')) >= least, [told, least]);
  await page.close();
});

test('ten thousand records a second: few nodes, keys are heard, shown and skipped are all', async () => {
  const page = await open('/?q=application:torrent');
  const came = { rows: 0, logs: 0, skipped: 0 };
  page.on('websocket', socket => socket.on('framereceived', ({ payload }) => {
    const message = JSON.parse(payload);
    if (message.type === 'logs') { came.rows += message.logs.length; came.logs += message.logs.length; } else { came.rows++; came.skipped += message.count; }
  }));
  await page.click('#live');
  await until(page, () => document.querySelector('#live .word').textContent === 'Live');
  const TURNS = 40, EACH = 500, EVERY_MS = 50, records = Array.from({ length: EACH }, (_, i) => ({ level: i % 9 ? 'INFO' : 'ERROR', source: `web-${i % 20}`, application: 'torrent', message: `GET /api/orders/${i} 200 in ${i % 90} ms` }));
  const flood = (async () => { for (let i = 0; i < TURNS; i++) { const started = performance.now(); await server().send(records); await new Promise(done => setTimeout(done, EVERY_MS - performance.now() + started)); } })();
  for (let i = 0; i < 5; i++) {
    await page.keyboard.press('?');
    await until(page, () => document.querySelector('#help').open);
    await page.keyboard.press('Escape');
    await until(page, () => !document.querySelector('#help').open);
    assert.ok(await page.locator('.item').count() < 300);
  }
  await flood;
  const all = () => page.evaluate(() => Number(document.querySelector('#list').getAttribute('aria-rowcount')) - 1);
  for (const end = Date.now() + PATIENCE_MS; came.logs + came.skipped < TURNS * EACH || await all() !== came.rows; await page.waitForTimeout(100)) assert.ok(Date.now() < end, `${await all()} rows of ${came.rows}: ${came.logs} came, ${came.skipped} were skipped`);
  assert.equal(came.logs + came.skipped, TURNS * EACH);
  await page.close();
});
