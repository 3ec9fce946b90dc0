// The list: newest first, virtual. However many records there are, the page holds the rows in view and a few more.
// Rows are kept oldest first, so that what arrives is a push; the list counts from their end.
import { $, h, icon, glyph, middle, shown, clock, day, stamp, ago, num, plural, zone, LEVELS, kept } from './dom.js';
import { state, set, COLUMNS } from './state.js';
import { hits } from './query.js';
import { Heights } from './heights.js';
import { detail } from './detail.js';

export const list = $('#list'), frame = $('.frame');
const ROWS_MAX = 100000, OVERSCAN = 12, CELL_CHARS_MAX = 2000;
const space = h('div', { class: 'space', role: 'rowgroup' }), head = h('div', { class: 'r head', role: 'row', 'aria-rowindex': 1 });
list.append(head, space);

export const rows = [];
const ids = new Set(), heights = new Heights(), nodes = new Map();
export const view = { cursor: null, ansi: false, marks: null, onMore: null, onOpen: null, onScroll: null, top: 0, height: 0, total: 0, took: 0 };
let planned = false;

// ---- what there is
export function clear() { rows.length = 0; ids.clear(); heights.clear(); forget(); }
export const has = id => ids.has(id);
// Asked once and kept: asking takes microseconds, and a hundred thousand rows are guessed at a time.
const narrow = matchMedia('(max-width: 620px)');
let rowGuess = 0;
const guessAnew = () => { rowGuess = narrow.matches ? 51 : 22; };
guessAnew();
const guess = row => (row.skipped ? 28 : rowGuess);
function adopt(record) { record.t = Date.parse(record.timestamp); return record; }
// Newest of all, in order of arrival: what the tail brings.
export function push(records) {
  let added = 0;
  for (const record of records) {
    if (record.id && ids.has(record.id)) continue;
    if (record.id) ids.add(record.id);
    rows.push(record.t == null && record.timestamp ? adopt(record) : record);
    heights.push(guess(record));
    added++;
  }
  if (rows.length > ROWS_MAX * 1.1) { for (const row of rows.splice(0, rows.length - ROWS_MAX)) ids.delete(row.id); rebuild(); }
  plan();
  return added;
}
// Older than all, newest first: a further page.
export function append(records) {
  const older = records.filter(record => !ids.has(record.id)).map(adopt).reverse();
  for (const record of older) ids.add(record.id);
  rows.unshift(...older);
  rebuild();
  plan();
}
// Puts records where they belong by time: a filled gap. Returns how many were new. One pass from the newest end, since
// there may be ten thousand of them, and ten times as many rows.
export function insert(records) {
  const fresh = records.filter(record => !ids.has(record.id)).map(record => (record.timestamp ? adopt(record) : record)).sort((a, b) => a.t - b.t), newer = [];
  for (let left = fresh.length; left > 0;) newer.push(rows.length && rows[rows.length - 1].t > fresh[left - 1].t ? rows.pop() : fresh[--left]);
  while (newer.length) rows.push(newer.pop());
  for (const { id } of fresh) if (id) ids.add(id);
  if (fresh.length) { rebuild(); plan(); }
  return fresh.length;
}
export function remove(row) { const at = rows.indexOf(row); if (at >= 0) { rows.splice(at, 1); rebuild(); plan(); } return at >= 0; }
function rebuild() {
  const known = new Map([...nodes].map(([row, node]) => [row, node.offsetHeight]));
  heights.clear();
  for (const row of rows) heights.push(known.get(row) ?? row.height ?? guess(row));
}
function forget() { for (const node of nodes.values()) node.remove(); nodes.clear(); }
// All rows anew: the columns, the zone, the marks have changed.
export function repaint() { forget(); for (const row of rows) delete row.height; rebuild(); paintHead(); plan(); }

// ---- columns
let parsed = { text: null, columns: [] };
export function columns() {
  const text = state.cols || 'level,timestamp,source,application';
  if (parsed.text === text) return parsed.columns;
  parsed = { text, columns: parseColumns(text) };
  return parsed.columns;
}
function parseColumns(text) {
  return text.split(',').filter(Boolean).map(part => { const [name, width] = part.split(':'); return { name, width: +width || null }; });
}
const WIDTHS = { level: 44, timestamp: 90, source: 136, application: 78 }, WIDE = { level: 46, timestamp: 92, source: 168, application: 108 };
const NAMES = { level: 'Level', source: 'Source', application: 'Application' };
export const setColumns = list => set({ cols: list.map(c => c.name + (c.width ? ':' + Math.round(c.width) : '')).join(',') === COLUMNS.join(',') ? '' : list.map(c => c.name + (c.width ? ':' + Math.round(c.width) : '')).join(',') }, { quiet: true });
function paintHead() {
  const wide = innerWidth >= 1600, chosen = columns(), offDay = rows.length && day(rows[0].t ?? Date.now()) !== day(Date.now());
  list.style.setProperty('--cols', ['10px', ...chosen.map(c => (c.width || (wide ? WIDE : WIDTHS)[c.name] || 110) + (c.name === 'timestamp' && offDay && !c.width ? 78 : 0) + 'px'), 'minmax(0, 1fr)'].join(' '));
  view.days = offDay;
  head.replaceChildren(...(chosen[0]?.name === 'level' ? [] : [h('span', { role: 'columnheader' }, h('span', { class: 'vh' }, 'Level'))]), ...chosen.map((c, i) => {
    const title = c.name === 'timestamp' ? `Time, ${zone.utc ? 'UTC' : 'local'} ↓` : NAMES[c.name] || c.name.replace('metadata.', '');
    return h('span', { role: 'columnheader', class: i === 0 && c.name === 'level' ? 'two' : null, title, 'aria-sort': c.name === 'timestamp' ? 'descending' : null }, title, h('i', { class: 'size', on: { pointerdown: e => size(e, i) } }));
  }), h('span', { role: 'columnheader' }, 'Message'));
}
function size(event, i) {
  event.preventDefault();
  const handle = event.currentTarget, cell = handle.parentElement, start = event.clientX, chosen = columns().map(c => ({ ...c })), was = chosen[i].width || cell.offsetWidth - (cell.classList.contains('two') ? 20 : 0);
  handle.setPointerCapture(event.pointerId);
  handle.onpointermove = e => { chosen[i].width = Math.max(32, Math.min(600, was + e.clientX - start)); list.style.setProperty('--cols', ['10px', ...[...getComputedStyle(head).gridTemplateColumns.split(' ')].slice(1, -1).map((w, k) => (k === i ? chosen[i].width + 'px' : w)), 'minmax(0, 1fr)'].join(' ')); };
  handle.onpointerup = () => { handle.onpointermove = handle.onpointerup = null; setColumns(chosen); };
}

// ---- painting
export const valueOf = (row, field) => field.startsWith('metadata.') ? lookUp(row.metadata, field.slice(9)) : row[field];
function lookUp(metadata, path) {
  if (path in metadata) return metadata[path];
  return path.split('.').reduce((value, key) => (value && typeof value === 'object' && !Array.isArray(value) ? value[key] : undefined), metadata);
}
function firstLine(text) {
  const end = text.indexOf('\n'), lines = end >= 0 && !state.wrap;
  let cut = lines ? text.slice(0, end) : text;
  const more = cut.length > CELL_CHARS_MAX;
  if (more) cut = cut.slice(0, CELL_CHARS_MAX);
  return [shown(cut, { hits: view.marks, ansi: view.ansi }), (lines || more) && h('span', { class: 'more-of', title: `${num(text.length)} characters: open the record to see all` }, ' …')];
}
function cell(row, name) {
  if (name === 'level') return h('span', { class: 'ln ' + row.level, role: 'gridcell' }, row.level);
  if (name === 'timestamp') return h('span', { class: 't', role: 'gridcell', title: `${row.timestamp}, ${ago(row.t)}` }, (view.days ? day(row.t) + ' ' : '') + clock(row.t, 'ms'));
  if (name === 'source') return h('span', { class: 's', role: 'gridcell' }, middle(row.source));
  if (name === 'application') return h('span', { class: 'a', role: 'gridcell', title: row.application }, shown(row.application));
  const value = valueOf(row, name);
  return h('span', { class: 'x', role: 'gridcell' }, value === undefined ? '' : shown(typeof value === 'string' ? value.slice(0, 200) : JSON.stringify(value).slice(0, 200)));
}
const domId = row => 'r-' + row.id;
function paint(row, index) {
  if (row.skipped) return h('div', { class: 'item' }, h('div', { class: 'break', role: 'row' }, h('span', { role: 'gridcell' }, row.text, ' ', row.load && h('button', { type: 'button', class: 'link', on: { click: () => row.load(row) } }, 'Load them'))));
  const open = state.open === row.id, at = row === view.cursor;
  const line = h('div', { class: `r row is-${row.level}${at ? ' cur' : ''}`, role: 'row', 'aria-rowindex': index + 2, 'aria-expanded': String(open), 'aria-level': 1, 'aria-selected': String(at), id: domId(row), on: { click: () => { if (!String(getSelection())) pick(row, !open); } } },
    h('span', { class: 'lv', role: 'gridcell' }, glyph(row.level), columns().some(c => c.name === 'level') ? null : h('span', { class: 'vh' }, row.level)), columns().map(c => cell(row, c.name)), h('span', { class: 'm', role: 'gridcell' }, firstLine(row.message)));
  return h('div', { class: 'item' }, line, open && detail(row));
}
// Narrow, the page scrolls and not the list.
const inPage = () => narrow.matches;
function viewport() {
  if (!inPage()) return { top: list.scrollTop, height: list.clientHeight };
  const top = -space.getBoundingClientRect().top;
  return { top: Math.max(0, top), height: innerHeight };
}
function scrollBy(delta) { if (delta) inPage() ? window.scrollBy(0, delta) : (list.scrollTop += delta); }
export const isAtTop = () => (inPage() ? space.getBoundingClientRect().top > -40 : list.scrollTop < 8);
export function toTop() { inPage() ? window.scrollTo(0, 0) : (list.scrollTop = 0); }
// Where a row begins, from the top of the list: those above it are newer, so they stand behind it in `rows`.
const topOf = at => heights.total - heights.sum(at + 1);
const wasAt = { row: null, offset: 0 };

export function plan() { if (!planned) { planned = true; requestAnimationFrame(render); } }
function render() {
  planned = false;
  const started = performance.now();
  const total = heights.total, n = rows.length;
  // What is read of the page is read together, then all is written: a read after a write lays the page out anew.
  let { top, height } = viewport();
  // What was in view stays in view, whatever came above it.
  const anchor = wasAt.row && !isAtTop() ? rows.indexOf(wasAt.row) : -1;
  space.style.height = total + 'px';
  if (anchor >= 0) { const want = topOf(anchor) + wasAt.offset; if (Math.abs(want - top) > 1) { scrollBy(want - top); ({ top, height } = viewport()); } }
  const last = Math.max(0, n - 1 - heights.fit(Math.max(0, total - top))); // newest in view, from the top
  const bottom = heights.fit(Math.max(0, total - top - height));
  const newest = Math.min(n - 1, n - 1 - last + OVERSCAN), oldest = Math.max(0, bottom - OVERSCAN);
  const wanted = new Set();
  for (let j = newest; j >= oldest; j--) wanted.add(rows[j]);
  const gone = [...nodes].filter(([row]) => !wanted.has(row));
  // An open record may have grown since it was measured.
  for (const [row, node] of gone) if (row.id === state.open) row.height = node.offsetHeight;
  for (const [row, node] of gone) { node.remove(); nodes.delete(row); }
  let next = space.firstChild;
  for (let j = newest; j >= oldest; j--) {
    const row = rows[j];
    let node = nodes.get(row);
    if (!node) { node = paint(row, n - 1 - j); nodes.set(row, node); }
    if (node !== next) space.insertBefore(node, next); else next = next.nextSibling;
  }
  let changed = false;
  for (let j = newest; j >= oldest; j--) {
    const real = nodes.get(rows[j]).offsetHeight;
    if (!real) continue;
    rows[j].height = real;
    if (real !== heights.values[j]) { heights.set(j, real); changed = true; }
  }
  let y = newest >= 0 ? topOf(newest) : 0;
  for (let j = newest; j >= oldest; j--) { nodes.get(rows[j]).style.transform = `translateY(${y}px)`; y += heights.values[j]; }
  if (changed) space.style.height = heights.total + 'px';
  if (changed) ({ top, height } = viewport());
  const first = n - 1 - heightsFirst(top);
  wasAt.row = rows[first] ?? null;
  wasAt.offset = wasAt.row ? top - topOf(first) : 0;
  list.setAttribute('aria-rowcount', n + 1);
  if (view.cursor && nodes.has(view.cursor)) list.setAttribute('aria-activedescendant', domId(view.cursor)); else list.removeAttribute('aria-activedescendant');
  if (changed) plan();
  if (oldest < 60 && n) view.onMore?.();
  Object.assign(view, { top, height, total: heights.total, took: performance.now() - started });
  view.onScroll?.();
}
// How many rows stand wholly above `top`.
function heightsFirst(top) { return Math.max(0, rows.length - 1 - heights.fit(Math.max(0, heights.total - top - 1))); }
const scrolled = () => { wasAt.row = null; plan(); view.onMove?.(); };
list.addEventListener('scroll', scrolled, { passive: true });
addEventListener('scroll', () => inPage() && scrolled(), { passive: true });
new ResizeObserver(() => { wasAt.row = null; plan(); }).observe(list);
narrow.addEventListener('change', () => { guessAnew(); repaint(); });
matchMedia('(min-width: 1600px)').addEventListener('change', repaint);

// ---- the chosen row
export function refresh(row) { if (!row) return; const node = nodes.get(row); if (node) { node.remove(); nodes.delete(row); } delete row.height; plan(); }
export function pick(row, open) {
  const before = view.cursor, opened = rows.find(r => r.id && r.id === state.open);
  view.cursor = row;
  set({ open: open ? row.id : '' }, { quiet: true });
  for (const each of new Set([before, opened, row])) refresh(each);
  if (open) view.onOpen?.(row);
}
export function move(step, wanted = () => true) {
  let at = view.cursor ? rows.indexOf(view.cursor) : rows.length;
  do at -= step; while (rows[at] && (rows[at].skipped || !wanted(rows[at])));
  if (rows[at]) go(at);
}
export function go(at) {
  const before = view.cursor;
  view.cursor = rows[at];
  refresh(before);
  refresh(view.cursor);
  const y = topOf(at), { top, height } = viewport(), tall = heights.values[at], room = inPage() ? 0 : head.offsetHeight;
  wasAt.row = null;
  if (y < top) scrollBy(y - top - 4); else if (y + tall > top + height - room) scrollBy(y + tall - top - height + room + 4);
  plan();
  view.onMove?.();
}
export const goEnd = oldest => rows.length && go(oldest ? 0 : rows.length - 1);
export const find = id => rows.find(row => row.id === id);

// Where in what is loaded the errors and warnings lie, as on an editor's scroll bar.
export function paintMap(svg) {
  const n = rows.length, marks = new Map();
  if (n < 2) return [];
  for (let j = 0; j < n; j++) {
    const level = rows[j].level;
    if (level !== 'ERROR' && level !== 'FATAL' && level !== 'WARN') continue;
    const y = Math.floor((n - 1 - j) / n * 220), had = marks.get(y);
    if (!had || LEVELS.indexOf(level) < LEVELS.indexOf(had)) marks.set(y, level);
  }
  return [...marks].map(([y, level]) => svg('rect', { x: level === 'WARN' ? 6 : 3, y, width: level === 'WARN' ? 5 : 8, height: .8, class: level, fill: 'currentColor' }));
}
export function jump(share) { wasAt.row = null; inPage() ? 0 : (list.scrollTop = share * list.scrollHeight); }
export const loadedText = () => rows.length ? `${stamp(rows[0].t)} to ${stamp(rows[rows.length - 1].t)}` : '';
