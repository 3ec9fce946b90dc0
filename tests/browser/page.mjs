// What every test of the dashboard has: a server with one night's story, a browser, a page that may not fail quietly.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { after, before } from 'node:test';
import { Logboom, browser, story } from './logboom.mjs';

export const COUNT = 4000, SHOTS = process.env.SHOTS;
// How long anything may take on a machine that does other things too.
export const PATIENCE_MS = 30000;
const AXE = readFileSync(new URL('./node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
let logboom, chrome;
export const server = () => logboom;

export function begin() {
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
}
// A page that fails the test on any error in it. `answers`: what paths are answered with instead of by the server;
// `waits`: until the dashboard shows something.
export async function open(path = '/', { width = 1280, height = 800, scheme = 'light', expect = [], answers = {}, waits = true } = {}) {
  const context = await chrome.newContext({ viewport: { width, height }, colorScheme: scheme, acceptDownloads: true, reducedMotion: 'reduce', permissions: ['clipboard-read', 'clipboard-write'] });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', error => page.faults.push(error.stack));
  page.on('console', message => { if (message.type() === 'error' && !expect.some(e => message.text().includes(e))) page.faults.push(message.text()); });
  page.on('dialog', dialog => { page.faults.push('a dialog: ' + dialog.message()); dialog.dismiss(); });
  for (const [at, answer] of Object.entries(answers)) await page.route(url => url.pathname === at, route => route.fulfill(answer));
  await page.goto(logboom.url + path);
  if (waits) await page.waitForFunction(() => document.querySelector('.found b')?.textContent || !document.querySelector('#nothing').hidden || document.querySelector('.page:not([hidden]) h1'));
  page.close = async () => { assert.deepEqual(page.faults, []); await context.close(); };
  return page;
}
export const text = (page, selector) => page.locator(selector).first().innerText();
export const found = async page => Number((await text(page, '.found b')).replace(/\D/g, ''));
export const q = page => page.inputValue('#q');
export const until = (page, run, arg) => page.waitForFunction(run, arg, { timeout: PATIENCE_MS });
// Nothing of the query is asked any more, and what was answered is painted.
export async function settled(page) {
  await until(page, () => document.querySelector('.results').getAttribute('aria-busy') === 'false');
  await painted(page);
}
// The list paints in the next frame, and once more where heights turned out to be others.
export const painted = page => page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done)))));
// `within`: only this part of the page; `rules`: only these.
export async function axe(page, what, { within = 'body', rules = null } = {}) {
  await page.evaluate(AXE);
  const only = rules ? { type: 'rule', values: rules } : ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'];
  const { violations } = await page.evaluate(([within, runOnly]) => axe.run(within === 'body' ? document : within, { runOnly }), [within, only]);
  assert.deepEqual(violations.map(v => `${what}: ${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 200)).join(' | ')}`), []);
}
