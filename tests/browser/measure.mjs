// How quick the page is: first paint, and from Enter to the rows on the screen. node measure.mjs http://127.0.0.1:5000
import { browser } from './logboom.mjs';
const url = process.argv[2] ?? 'http://127.0.0.1:5000', ROUNDS = 7;
const median = list => [...list].sort((a, b) => a - b)[list.length >> 1];
const chrome = await browser();
const paints = [], sizes = [];
for (let i = 0; i < ROUNDS; i++) {
  const page = await (await chrome.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
  await page.goto(url + '/?all=1');
  await page.waitForFunction(() => performance.getEntriesByName('first-contentful-paint').length && document.querySelector('.row'));
  paints.push(await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime));
  sizes.push(await page.evaluate(() => performance.getEntriesByType('resource').filter(r => /\.(js|css|svg)$/.test(r.name)).reduce((n, r) => n + r.decodedBodySize, 0) + performance.getEntriesByType('navigation')[0].decodedBodySize));
  await page.context().close();
}
console.log(`first contentful paint ${median(paints).toFixed(0)} ms (${paints.map(p => p.toFixed(0)).join(' ')}), the page has ${sizes[0]} bytes`);
const page = await (await chrome.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
await page.goto(url + '/?all=1');
await page.waitForFunction(() => document.querySelector('.row') && !document.querySelector('.loading'));
await page.waitForTimeout(3000);
for (const q of process.argv.slice(3).length ? process.argv.slice(3) : ['timed out', 'level:>=error', 'session expired', 'user_id:77', 'application:mail-api', 'disk usage']) {
  const took = [];
  for (let i = 0; i < 3; i++) {
    await page.evaluate(() => { window.before = document.querySelector('.row')?.id; });
    took.push(await page.evaluate(q => new Promise(done => {
      const input = document.querySelector('#q'), started = performance.now(), marks = new MutationObserver(() => {
        if (!location.search.includes('q=')) return;
        const row = document.querySelector('.row');
        if (row && window.painted !== row) { marks.disconnect(); requestAnimationFrame(() => done(performance.now() - started)); }
      });
      window.painted = document.querySelector('.row');
      marks.observe(document.querySelector('.space'), { childList: true });
      input.focus();
      input.value = q;
      input.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
    }), q));
    await page.waitForTimeout(2500);
    await page.fill('#q', '');
    await page.press('#q', 'Enter');
    await page.waitForTimeout(2500);
  }
  console.log(`${q}: ${median(took).toFixed(0)} ms from Enter to rows (${took.map(t => t.toFixed(0)).join(' ')})`);
}
await chrome.close();
