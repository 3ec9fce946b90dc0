// Searching and reading, as a person does it: query, facets, chart, list, open record.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COUNT, begin, found, open, painted, q, server, settled, text, until } from './page.mjs';

begin();

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
  await settled(page);
  await page.locator('.facets .only', { hasText: 'payments-5c9b-x8f2' }).first().click();
  await until(page, () => !document.querySelector('#q').value.includes('source:'));
  await settled(page);
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
  await settled(page);
  await page.locator('.facets .only', { hasText: 'Error' }).click();
  await until(page, () => document.querySelector('#q').value === 'level:ERROR -level:INFO');
  await settled(page);
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
  await until(page, () => /records.*errors/.test(document.querySelector('.read').textContent));
  await page.locator('.read button', { hasText: 'Zoom' }).click();
  await until(page, () => /from=20/.test(location.search));
  await settled(page);
  const part = await found(page);
  assert.ok(part > 0 && part < all * .5, `${part} of ${all}`);
  await page.locator('.plot').focus();
  await page.keyboard.press('0');
  await until(page, () => !/from=20/.test(location.search));
  await settled(page);
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
  const rows = () => page.evaluate(() => Number(document.querySelector('#list').getAttribute('aria-rowcount')));
  for (let had = await rows(), all = await found(page); had < all; had = await rows()) {
    await page.evaluate(() => { const list = document.querySelector('#list'); list.scrollTop = list.scrollHeight; });
    await until(page, had => Number(document.querySelector('#list').getAttribute('aria-rowcount')) > had, had);
  }
  assert.ok(await page.locator('.item').count() < 300);
  const last = await page.locator('.row .t').last().innerText(), first = await page.locator('.row .t').first().innerText();
  assert.ok(last < first);
  await page.keyboard.press('Home');
  await until(page, () => document.querySelector('#list').scrollTop < 10);
  await page.close();
});

test('records of another day show it beside the time', async () => {
  await server().send([{ timestamp: '2024-02-03T04:05:06.789Z', level: 'INFO', source: 'old-1', application: 'old', message: 'long ago' }]);
  const page = await open('/?from=&q=application:old&all=1');
  await settled(page);
  const cell = page.locator('.row .t').first();
  assert.equal(await cell.innerText(), '2024-02-03 04:05:06.789');
  assert.ok(await cell.evaluate(at => at.scrollWidth <= at.clientWidth), 'it is cut');
  await page.close();
});

test('completion offers fields and values', async () => {
  const page = await open();
  await settled(page);
  await page.click('#q');
  await page.keyboard.type('app');
  await until(page, () => /application:payments/.test(document.querySelector('#complete').textContent));
  await page.keyboard.type('lication:');
  await until(page, () => /Values of application.*application:checkout.*application:payments/.test(document.querySelector('#complete').textContent));
  await page.keyboard.type('pay');
  await until(page, () => /Values of application.*application:payments/.test(document.querySelector('#complete').textContent));
  await page.keyboard.press('Tab');
  await until(page, () => document.querySelector('#q').value.trim() === 'application:payments');
  await page.close();
});

test('a completion is of what is typed, however late it comes', async () => {
  const page = await open();
  await settled(page);
  // The values come late: Tab meets the offer that was made for less.
  await page.route(/stats\/facets/, async route => { await new Promise(done => setTimeout(done, 500)); await route.continue(); });
  await page.click('#q');
  await page.keyboard.type('app');
  await until(page, () => /application:payments/.test(document.querySelector('#complete').textContent));
  await page.keyboard.type('lication:pay');
  await page.keyboard.press('Tab');
  await until(page, () => document.querySelector('#q').value.trim() === 'application:payments');
  await page.unrouteAll({ behavior: 'ignoreErrors' });
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

test('a link with a range that is none says so', async () => {
  for (const [link, said] of [['/?from=noon', /“noon” is no time for from: write/], ['/?from=2026-03-17T10:00:00Z&to=2026-03-17T09:00:00Z', /from must be earlier/]]) {
    const page = await open(link, { expect: ['400'], waits: false });
    await until(page, () => !document.querySelector('#q-note').hidden);
    assert.match(await text(page, '#q-note'), said);
    await page.close();
  }
});

test('a field that is misspelt finds nothing, and the page says which was meant', async () => {
  const page = await open('/?q=sorce:payments-5c9b-x8f2');
  await page.locator('#nothing button', { hasText: 'With source: instead of sorce:' }).click();
  await until(page, () => document.querySelector('#q').value === 'source:payments-5c9b-x8f2');
  await settled(page);
  assert.ok(await found(page) > 0);
  await page.close();
});

test('nothing found: what would match', async () => {
  const page = await open('/?q=order "card declined"');
  await until(page, () => document.querySelectorAll('#nothing li').length > 0);
  await page.locator('#nothing button', { hasText: 'Without "card declined"' }).click();
  await until(page, () => document.querySelector('#q').value === 'order');
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
  // A heading's edge is dragged: the rows follow, and the link keeps it.
  const source = () => page.evaluate(() => document.querySelector('.row .s').getBoundingClientRect().width), narrow = await source(), edge = await page.locator('.head .size').nth(2).boundingBox();
  await page.mouse.move(edge.x + edge.width / 2, edge.y + 5);
  await page.mouse.down();
  await page.mouse.move(edge.x + edge.width / 2 + 60, edge.y + 5, { steps: 4 });
  await page.mouse.up();
  await until(page, () => /source%3A\d|source:\d/.test(location.search));
  await painted(page);
  assert.ok(Math.abs(await source() - narrow - 60) < 6, `${narrow} became ${await source()}`);
  await page.close();
});
