// The dashboard: what is asked when, the keys, the pages. Each part of the page has a file of its own.
import { $, $$, h, s, num, short, plural, rate, setIcon, zone, kept, copy, say, clock, stamp, LEVELS } from './dom.js';
import { ask, newest, aborted, onAway } from './api.js';
import { state, set, onChange, readAddress, params, bounds, instant, iso, isOpenEnded, search, RANGES } from './state.js';
import * as query from './query.js';
import * as list from './list.js';
import * as chart from './chart.js';
import * as facets from './facets.js';
import * as field from './ask.js';
import * as menus from './menus.js';
import * as strip from './strip.js';
import * as tail from './live.js';
import * as status from './status.js';
import * as parsePage from './parse.js';

const PAGE = 200, MORE = 1000, REFRESH_MS = 5000, SLOW_MS = 150;
const results = $('.results'), found = $('.found'), nothing = $('#nothing'), signal = newest(), around = newest();
let cursor = null, loadingMore = false, asking = 0, loaded = null, askedAt = Date.now();

// ---- asking: the list first, then what stands around it
async function load() {
  results.setAttribute('aria-busy', String(++asking > 0));
  try { await loadAll(); } finally { results.setAttribute('aria-busy', String(--asking > 0)); }
}
async function loadAll() {
  around();
  const mine = signal(), wrong = ['from', 'to'].find(end => state[end] && instant(state[end]) == null);
  // Only a link that someone wrote has it. It must not show another time than it says.
  if (wrong) return field.tell({ message: `“${state[wrong]}” is no time for ${wrong}: write 2026-03-17 02:12, -90m, today or yesterday 14:00` });
  const now = askedAt = Date.now(), started = performance.now();
  const slow = setTimeout(() => results.classList.add('loading'), SLOW_MS);
  cursor = null;
  try {
    const page = await ask('/logs/', params({ limit: PAGE }, now), mine);
    field.tell(null);
    list.view.marks = query.hits(state.q);
    // What the tail has brought while this was on its way is newer than the page, and stays.
    const arrived = tail.isOn() ? list.rows.filter(row => row.arrived >= started) : [];
    list.clear();
    list.toTop();
    list.append(page.logs);
    list.push(arrived);
    cursor = page.next_cursor;
    loaded = { took: performance.now() - started };
    list.repaint();
    await openLinked(mine);
  } catch (error) {
    if (aborted(error)) return;
    clearTimeout(slow);
    results.classList.remove('loading');
    return fail(error);
  }
  clearTimeout(slow);
  results.classList.remove('loading');
  try { await Promise.all([loadChart(mine, now), facets.load(now)]); } catch (error) { if (!aborted(error)) fail(error); }
}
function fail(error) {
  if (error.status === 0) return;
  if (error.status === 400) return field.tell(error);
  say(error.message);
}
async function loadChart(mine, now) {
  const step = chart.stepFor(now), histogram = await ask('/stats/histogram', params(step ? { interval: step + 's' } : {}, now), mine);
  chart.fill(histogram, now);
  const byLevel = chart.byLevel();
  Object.assign(strip.figures, { total: chart.count(), errors: byLevel.ERROR + byLevel.FATAL });
  chart.data.levels = byLevel;
  if (!tail.isOn()) found.replaceChildren(h('b', {}, plural(chart.count(), 'record')), ' ', h('span', {}, `${Math.round(loaded?.took ?? 0)} ms`));
  chart.paintLegend();
  strip.paint();
  paintEmpty(chart.count(), now);
  if (bounds(state, now).from == null) { strip.figures.ghostRate = null; return; }
  const shift = chart.shift(), before = await ask('/stats/histogram', params({ shift, interval: chart.data.step + 's' }, chart.data.start + shift), mine);
  chart.fillGhost(before);
  const all = before.buckets.reduce((n, b) => n + b.total, 0);
  strip.figures.ghostRate = all ? chart.data.ghostBad / all : null;
  strip.paint();
}
async function more() {
  if (!cursor || loadingMore) return;
  loadingMore = true;
  const at = cursor;
  try {
    // The first page's own parameters: the cursor belongs to them.
    const page = await ask('/logs/', params({ limit: MORE, cursor: at }, askedAt));
    if (at === cursor) { list.append(page.logs); cursor = page.next_cursor; paintMap(); }
  } catch (error) { if (!aborted(error)) fail(error); }
  loadingMore = false;
}
// A link to an open record that is not on the first page.
async function openLinked(mine) {
  if (!state.open) return;
  let row = list.find(state.open);
  if (!row) {
    try {
      const record = await ask('/logs/' + encodeURIComponent(state.open), null, mine);
      list.push([{ skipped: 1, t: Date.parse(record.timestamp), text: 'Above: the record of the link, which is further down or not in this search.' }, record]);
      row = list.find(state.open);
    } catch (error) { if (aborted(error)) throw error; say(error.message); set({ open: '' }, { quiet: true }); }
  }
  list.view.cursor = row ?? null;
  if (row) { list.refresh(row); list.go(list.rows.indexOf(row)); }
}

// ---- nothing found: what would match
async function paintEmpty(count, now) {
  const empty = !count && !list.rows.length;
  nothing.hidden = !empty;
  $('.frame').hidden = empty;
  if (!empty) return;
  const mine = nothing.asked = {}, name = menus.rangeText(), lower = name[0].toLowerCase() + name.slice(1);
  nothing.replaceChildren(h('h2', {}, state.q ? `Nothing matches in ${/^last|^today/.test(lower) ? 'the ' + lower : lower}` : `No records in ${/^last/.test(lower) ? 'the ' + lower : lower}`));
  const options = [];
  if (isOpenEnded()) for (const [from, title] of RANGES.slice(2)) if (from !== state.from && from !== 'today' && (from === '' || !state.from || (bounds({ from, to: '' }, now).from < bounds(state, now).from))) options.push([title, { from, to: '' }]);
  if (!isOpenEnded()) options.push(['All time', { from: '', to: '' }]);
  for (const token of query.tokens(state.q).filter(t => t.kind === 'term')) options.push([`Without ${token.text}`, { q: query.withoutTerm(state.q, token.at) }]);
  for (const [was, better] of query.likelyFields(state.q)) options.push([`With ${better}: instead of ${was}:`, { q: state.q.replace(was + ':', better + ':') }]);
  const phrase = query.tokens(state.q).find(t => t.kind === 'term' && !t.field && /^"\S+ .*"$/.test(t.text));
  if (phrase) options.push([`With the words apart: ${phrase.value}`, { q: state.q.replace(phrase.text, phrase.value) }]);
  const counted = await Promise.all(options.slice(0, 8).map(async ([title, change]) => {
    const to = { ...state, ...change }, { from, to: end } = bounds(to, now), p = new URLSearchParams({ ...(to.q && { q: to.q }), ...(from != null && { from: iso(from) }), ...(end != null && { to: iso(end) }) });
    return [title, change, (await ask('/stats', p).catch(() => null))?.total ?? 0];
  }));
  if (nothing.asked !== mine) return;
  const useful = counted.filter(c => c[2] > 0).sort((a, b) => a[2] - b[2]);
  const first = useful.length ? [h('p', {}, 'What would match:'), h('ul', {}, useful.slice(0, 4).map(([title, change, n]) => h('li', {}, h('button', { class: 'link', type: 'button', on: { click: () => set(change) } }, title), h('span', { class: 'sub' }, plural(n, 'record')))))] : strip.figures.stored ? [h('p', {}, 'Neither a longer range nor fewer words would change that.')]
    : [h('p', {}, 'There is no record yet. Send one:'), h('pre', { class: 'rawline' }, `curl ${location.origin}/data/fast -H 'content-type: application/json' -d '{"level": "INFO", "message": "hello"}'`)];
  nothing.append(...first);
}

// ---- the system's figures
async function refreshSystem() {
  const [queue, stats, text, health] = await Promise.all([ask('/queue/status').catch(() => null), ask('/stats').catch(() => null), fetch('/metrics').then(r => (r.ok ? r.text() : '')).catch(() => ''), ask('/health').catch(() => null)]);
  const all = status.metrics(text), f = strip.figures;
  if (stats) { f.stored = stats.total; f.perSecond = stats.per_second; f.history = [...f.history, stats.per_second].slice(-60); }
  f.queue = queue;
  f.storage = health?.parts?.postgres ? { inPostgres: true } : text ? { bytes: status.pickMetric(all, 'logboom_store_bytes'), files: status.pickMetric(all, 'logboom_store_files') } : null;
  strip.paint();
  paintHealth(health, stats, status.pickMetric(all, 'logboom_postgres_dead_letters'));
}
function paintHealth(health, stats, dead) {
  const at = $('.well a'), wrong = status.needs(health).length + (dead ? 1 : 0), badge = $('#needs');
  badge.hidden = !wrong;
  badge.textContent = wrong;
  badge.title = plural(wrong, 'thing needs', 'things need') + ' you';
  if (!health) return;
  const down = health.status === 'down';
  at.replaceChildren(s('svg', { class: 'i' + (down ? ' ERROR' : ''), 'aria-hidden': true }, s('use', { href: down ? '#i-close' : '#i-check' })), down ? 'Not taking logs ' : 'Taking logs ', stats ? h('span', {}, `${rate(stats.per_second)} a second`) : '');
}
let awaySince = null, awayTimer = 0;
onAway(since => {
  awaySince = since;
  clearInterval(awayTimer);
  const at = $('.well a');
  if (since == null) { at.classList.remove('bad'); refreshSystem(); if (!list.rows.length || !tail.isOn()) load(); return; }
  at.classList.add('bad');
  const tell = () => at.replaceChildren(`No answer for ${Math.round((Date.now() - since) / 1e3)} s, trying again`);
  tell();
  awayTimer = setInterval(() => { tell(); ask('/health').catch(() => {}); }, 1000);
});
// While the page is looked at; hidden, it asks nothing.
setInterval(() => {
  if (document.visibilityState !== 'visible' || awaySince) return;
  if (page() === 'status') status.paint();
  refreshSystem();
  if (tail.live.mode === 'on' && page() === 'logs') refreshAround();
}, REFRESH_MS);
document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') refreshSystem(); });
async function refreshAround() {
  if (asking) return;
  const now = Date.now(), mine = around();
  try { await Promise.all([loadChart(mine, now), facets.load(now)]); } catch { /* the next time */ }
}

// ---- parts that tell one another
facets.facets.onLoad = name => {
  if (name === 'source') { const answer = facets.facets.source; strip.figures.sources = answer.values.length; strip.figures.sourcesMore = answer.other > 0; strip.paint(); }
  if (name === 'level') { chart.data.levels = Object.fromEntries(facets.facets.level.values.map(v => [v.value, v.count])); chart.paintLegend(); }
};
list.view.onMore = more;
list.view.onOpen = () => tail.pause();
list.view.onMove = () => { if (tail.live.mode === 'on' && !list.isAtTop()) tail.pause(); };
list.view.onResize = () => list.plan();
list.view.onScroll = () => paintMap();
tail.live.onRows = () => { nothing.hidden = true; $('.frame').hidden = false; };
tail.live.onChange = () => { if (tail.isOn()) found.replaceChildren(h('b', {}, tail.live.mode === 'paused' ? 'Paused' : 'Following')); };
let mapAt = 0, mapTimer = 0;
function paintMap() {
  const map = $('.map'), n = list.rows.length;
  if (map.firstChild && map.n === n) return placeMap();
  const wait = mapAt + 1000 - Date.now();
  if (map.firstChild && map.n && wait > 0) { mapTimer ||= setTimeout(() => { mapTimer = 0; paintMap(); }, wait); return placeMap(); }
  mapAt = Date.now();
  map.n = n;
  map.replaceChildren(s('svg', { viewBox: '0 0 14 220', preserveAspectRatio: 'none' }, s('rect', { class: 'at', x: 0, width: 14 }), list.paintMap(s)));
  placeMap();
}
function placeMap() {
  const at = $('.map .at'), { top, height, total } = list.view;
  if (!at || !total) return;
  at.setAttribute('y', (top / total * 220).toFixed(1));
  at.setAttribute('height', Math.max(4, Math.min(1, height / total) * 220).toFixed(1));
}
$('.map').addEventListener('click', event => { const box = event.currentTarget.getBoundingClientRect(); list.jump((event.clientY - box.top) / box.height); });

onChange((now, before) => {
  const asksAnew = ['q', 'from', 'to'].some(name => now[name] !== before[name]);
  field.show();
  paintTools();
  if (asksAnew) { load(); tail.restart(); }
  if (now.live !== before.live) follow();
  if (now.cols !== before.cols || now.wrap !== before.wrap) list.repaint();
});
function follow() { if (state.live) { tail.start(); load(); } else { tail.stop(); load(); } }

// ---- tools
function paintTools() {
  $('#range-t').textContent = menus.rangeText();
  $('#wrap').setAttribute('aria-pressed', String(Boolean(state.wrap)));
  list.list.classList.toggle('wrap', Boolean(state.wrap));
  $('#utc').setAttribute('aria-pressed', String(zone.utc));
  $('#ansi').setAttribute('aria-pressed', String(list.view.ansi));
  menus.paintViews();
  document.title = (state.q ? state.q.slice(0, 60) + ' · ' : '') + 'Logboom';
}
const wrap = () => set({ wrap: state.wrap ? '' : '1' }, { quiet: true });
function utc() { zone.utc = !zone.utc; kept.set('tz', zone.utc ? 'utc' : 'local'); paintTools(); list.repaint(); chart.paint(); set({}, { quiet: true }); }
// The time that is shown, not that of the click: a relative range has moved on since it was asked.
const link = () => { const now = tail.isOn() ? Date.now() : askedAt, { from, to } = bounds(state, now); copy(location.origin + search({ ...state, live: '', from: from == null ? '' : iso(from), to: to == null && from != null ? iso(now) : state.to }), 'Link copied: it shows this query and this time'); };
$('#wrap').addEventListener('click', wrap);
$('#utc').addEventListener('click', utc);
$('#ansi').addEventListener('click', () => { list.view.ansi = !list.view.ansi; kept.set('ansi', list.view.ansi); paintTools(); list.repaint(); });
$('#link').addEventListener('click', link);
$('#live').addEventListener('click', tail.cycle);
$('#resume').addEventListener('click', tail.resume);
$('#filters-b').addEventListener('click', facets.show);
const [earlier, later] = $$('.step');
earlier.addEventListener('click', () => chart.moveBy(-1));
later.addEventListener('click', () => chart.moveBy(1));

const themes = ['system', 'light', 'dark'];
let theme = Math.max(0, themes.indexOf(kept.get('theme', 'system')));
function paintTheme() { if (theme) document.documentElement.dataset.theme = themes[theme]; else delete document.documentElement.dataset.theme; $('#theme').setAttribute('aria-label', 'Theme: ' + (theme ? themes[theme] : 'as the system')); $('#theme').title = $('#theme').getAttribute('aria-label'); }
$('#theme').addEventListener('click', () => { theme = (theme + 1) % 3; kept.set('theme', themes[theme]); paintTheme(); });

// ---- pages
const page = () => (['status', 'parse'].find(name => location.hash === '#' + name) || 'logs');
function showPage() {
  const want = page();
  for (const name of ['logs', 'status', 'parse']) { $('#p-' + name).hidden = name !== want; const a = $(`nav a[href="#${name}"]`); if (name === want) a.setAttribute('aria-current', 'page'); else a.removeAttribute('aria-current'); }
  if (want === 'status') status.paint();
  if (want === 'parse') parsePage.paint();
  if (want === 'logs') { chart.paint(); list.plan(); }
}
addEventListener('hashchange', showPage);

// ---- keys
const KEYS = [['Anywhere', ['Search', '/'], ['Time range', 't'], ['Earlier, later', '[', ']'], ['Live: on, off, resume', 'l'], ['Views', 'v'], ['A view', 'g', '1 – 9'], ['Filters', 'f'], ['Logs, Status, Parse', 'g', 'l s p'], ['This help', '?']],
  ['In the chart', ['Move', '←', '→'], ['Select', 'Shift', '←→'], ['Zoom in, out', 'Enter', '0']],
  ['In the list', ['Next, previous', 'j', 'k'], ['Next, previous error', 'e', 'E'], ['Open, close', 'Enter', 'Esc'], ['Newest, oldest', 'Home', 'End'], ['Copy line, link', 'y', 's'], ['Wrap, UTC or local', 'w', 'u']],
  ['In an open record', ['Next field', 'Tab'], ['Only this, not this, copy', '+', '-', 'c'], ['Fields, JSON, raw, context', '1 – 4'], ['More context', '>']]];
$('.keys').append(...KEYS.map(([title, ...keys]) => h('section', {}, h('h3', {}, title), keys.map(([what, ...k]) => h('p', {}, what, h('span', {}, k.map(x => h('kbd', {}, x))))))));
const help = $('#help'), letters = $('#letters');
letters.checked = kept.get('letters', true);
letters.addEventListener('change', () => kept.set('letters', letters.checked));
$('#help-b').addEventListener('click', () => help.showModal());
$('[data-close]').addEventListener('click', () => help.close());
help.addEventListener('click', event => { if (event.target === help) help.close(); });
const isBad = row => row.level === 'ERROR' || row.level === 'FATAL';
const isOpen = row => row && row.id === state.open;
const openPart = () => $('.open')?.record;
// The value in focus in an open record: its line's buttons are only, not, copy.
const valueButton = n => { const acts = document.activeElement?.closest?.('.kv > div')?.querySelectorAll('.acts button'); return acts?.[n]; };
let leader = 0;
addEventListener('keydown', event => {
  const inField = event.target.closest?.('input, textarea, select, dialog, .pop'), row = list.view.cursor;
  if (event.key === 'Escape' && !inField) {
    if (menus.isOpen()) return menus.popup();
    if ($('#facets').classList.contains('shown')) return facets.show();
    if (chart.hasBrush()) return chart.dropBrush();
    if (isOpen(row)) list.pick(row, false);
    return;
  }
  if (inField || event.ctrlKey || event.metaKey || event.altKey || (!letters.checked && event.key.length === 1)) return;
  if (leader && Date.now() - leader < 1500) {
    leader = 0;
    const to = { l: 'logs', s: 'status', p: 'parse' }[event.key], view = /^[1-9]$/.test(event.key) && menus.viewAt(event.key - 1);
    if (to) { event.preventDefault(); location.hash = to; return; }
    if (view) { event.preventDefault(); menus.apply(view); return; }
  }
  const anywhere = { '?': () => help.showModal(), g: () => { leader = Date.now(); } };
  const onLogs = {
    '/': () => { location.hash = location.hash === '' ? '' : 'logs'; field.input.focus(); field.input.select(); }, t: () => menus.popup('range', true), v: () => menus.popup('views', true), '[': () => chart.moveBy(-1), ']': () => chart.moveBy(1), l: tail.cycle, f: () => { facets.show(); $('#facets button.only')?.focus(); },
    j: () => list.move(1), k: () => list.move(-1), e: () => list.move(1, isBad), E: () => list.move(-1, isBad), w: wrap, u: utc, s: link, y: () => row && copy(`${row.timestamp} ${row.level} ${row.source} ${row.application} ${row.message}`, 'Line copied'),
    '0': () => chart.zoomOut(), '+': () => valueButton(0)?.click(), '-': () => valueButton(1)?.click(), c: () => valueButton(2)?.click(), '>': () => openPart()?.more(10, 10)(), ...Object.fromEntries(['fields', 'json', 'raw', 'context'].map((tab, i) => [i + 1, () => openPart()?.show(tab)])),
  };
  const onList = event.target === list.list || event.target === document.body ? { Enter: () => row && list.pick(row, !isOpen(row)), ArrowDown: () => list.move(1), ArrowUp: () => list.move(-1), Home: () => list.goEnd(false), End: () => list.goEnd(true) } : {};
  const run = anywhere[event.key] ?? (page() === 'logs' ? onLogs[event.key] ?? onList[event.key] : null);
  if (run) { event.preventDefault(); run(); }
});

// ---- begin
readAddress();
list.view.ansi = kept.get('ansi', false);
paintTheme();
paintTools();
field.show();
strip.paint();
chart.paintLegend();
facets.paint();
showPage();
if (state.live) tail.start();
load().then(refreshSystem);
