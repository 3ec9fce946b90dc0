// How it looks: sizes, schemes, axe.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { SHOTS, axe, begin, open, settled, until } from './page.mjs';

begin();

test('dark by choice, on a light system, and it is remembered', async () => {
  const page = await open();
  await settled(page);
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.click('#theme');
  await page.click('#theme');
  assert.equal(await page.getAttribute('#theme', 'aria-label'), 'Theme: dark');
  const dark = await ground();
  assert.notEqual(dark, light);
  await page.reload();
  await settled(page);
  assert.equal(await ground(), dark);
  // Before any other module is there, so that nothing flashes.
  await page.route(/app\.js$/, route => route.abort());
  await page.reload();
  await until(page, () => document.documentElement.dataset.theme === 'dark');
  assert.equal(await ground(), dark);
  page.faults.length = 0;
  await page.close();
});

test('on a phone the filters are a sheet, and all can be reached', async () => {
  const page = await open('/', { width: 390, height: 844 });
  await settled(page);
  assert.ok(!await page.locator('#facets').isVisible());
  await page.click('#filters-b');
  await page.locator('.facets .only', { hasText: 'Error' }).click();
  await until(page, () => document.querySelector('#q').value === 'level:ERROR');
  await settled(page);
  await axe(page, 'the sheet');
  await page.keyboard.press('Escape');
  await until(page, () => !document.querySelector('#facets').classList.contains('shown'));
  await page.locator('.row').first().click();
  await until(page, () => document.querySelector('.open .kv'));
  await page.close();
});

test('first paint and a filter are quick, and the page is small', async () => {
  const page = await open();
  await settled(page);
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime);
  const size = await page.evaluate(() => performance.getEntriesByType('resource').filter(r => /\.(js|css|svg)$/.test(r.name)).reduce((n, r) => n + r.decodedBodySize, 0) + performance.getEntriesByType('navigation')[0].decodedBodySize);
  assert.ok(size < 200_000, `${size} bytes`);
  assert.ok(paint < 1500, `first paint after ${paint} ms`);
  const shift = await page.evaluate(() => new Promise(done => new PerformanceObserver(list => done(list.getEntries().reduce((n, e) => n + (e.hadRecentInput ? 0 : e.value), 0))).observe({ type: 'layout-shift', buffered: true }) ?? setTimeout(() => done(0), 500)));
  assert.ok(shift < .05, `the page moves by ${shift} while it loads`);
  console.log(`first contentful paint ${paint.toFixed(0)} ms, ${size} bytes`);
  await page.close();
});

test('begin.js asks for every module that app.js leads to, and no other', () => {
  const read = name => readFileSync(new URL(`../../api/dashboard/${name}.js`, import.meta.url), 'utf8'), needed = new Set(['app']);
  for (const name of needed) for (const [, other] of read(name).matchAll(/^(?:import|export) .*from '\.\/(\w+)\.js';$/gm)) needed.add(other);
  needed.delete('app');
  const listed = [.../MODULES = \[(.*)\]/.exec(read('begin'))[1].matchAll(/\w+/g)].map(String);
  assert.deepEqual(listed.sort(), [...needed].sort());
});

for (const scheme of ['light', 'dark']) for (const [width, height] of [[390, 844], [1280, 800], [1920, 1080]]) test(`${width} pixels, ${scheme}: nothing is wider than the screen, axe finds nothing`, async () => {
  const page = await open('/?q=order', { width, height, scheme });
  await settled(page);
  await page.locator('.row').nth(2).click();
  await until(page, () => document.querySelector('.open .ctx li'));
  for (const part of ['4', '1']) {
    await page.keyboard.press(part);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `it scrolls sideways, after ${part}`);
  }
  if (SHOTS) await page.screenshot({ path: `${SHOTS}/${width}x${height}-${scheme}.png` });
  // Dark differs in colour alone, and colours do not depend on the width.
  const checks = scheme === 'light' ? {} : { rules: ['color-contrast'] }, isChecked = scheme === 'light' || width === 1280;
  if (isChecked) await axe(page, 'logs', checks);
  for (const hash of ['#status', '#parse']) {
    await page.evaluate(hash => { location.hash = hash; }, hash);
    await until(page, hash => document.querySelector(`#p-${hash.slice(1)} tbody tr`), hash);
    if (SHOTS) await page.screenshot({ path: `${SHOTS}/${width}x${height}-${scheme}-${hash.slice(1)}.png` });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), hash + ' scrolls sideways');
    // A class for halves beside each other was once underlined, and stayed two columns.
    if (hash === '#status') assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('#p-status .two')).gridTemplateColumns.split(' ').length), width > 620 ? 2 : 1);
    if (isChecked) await axe(page, hash, checks);
  }
  await page.close();
});

test('axe finds nothing in menus, help, completion, errors', async () => {
  const page = await open('/', { expect: ['400'] });
  await settled(page);
  for (const id of ['views', 'range', 'columns', 'export']) { await page.locator(`[data-pop=${id}]`).click(); await axe(page, id, { within: '#' + id }); await page.keyboard.press('Escape'); }
  await page.keyboard.press('?');
  await axe(page, 'help', { within: '#help' });
  await page.keyboard.press('Escape');
  await page.click('#q');
  await page.keyboard.type('(');
  await until(page, () => !document.querySelector('#complete').hidden);
  await axe(page, 'completion', { within: '.ask' });
  await page.keyboard.press('Enter');
  await until(page, () => !document.querySelector('#q-note').hidden);
  await axe(page, 'a broken query', { within: '.ask' });
  await page.close();
});
