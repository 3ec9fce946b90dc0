// Counts by value, in and out of the query on a click. A field's counts leave its own filter out.
import { $, h, act, icon, glyph, levelName, middle, num, LEVELS, kept } from './dom.js';
import { ask, newest, aborted } from './api.js';
import { state, set, params } from './state.js';
import { mode, toggle, without, filterCount, tokens, plainField } from './query.js';
import * as list from './list.js';

const aside = $('#facets'), signal = newest();
const SHOWN = 7, MORE_MAX = 200;
export const facets = { level: null, application: null, source: null, metadata: null, key: kept.get('facet', ''), more: new Set(), onLoad: null };
const metaField = () => (facets.key ? 'metadata.' + facets.key : null);

const facet = (field, limit, at) => ask('/stats/facets', params({ q: without(state.q, field), field, limit }), at);
export async function load(now) {
  const mine = signal(), key = (facets.key ||= guessKey());
  const one = async (name, field, limit) => {
    try { facets[name] = await facet(field, limit, mine); paint(); facets.onLoad?.(name); }
    catch (error) { if (!aborted(error)) throw error; }
  };
  const limit = field => (facets.more.has(field) ? MORE_MAX : SHOWN);
  await Promise.all([one('level', 'level', 6), one('application', 'application', limit('application')), one('source', 'source', 1000), key && one('metadata', 'metadata.' + key, limit('metadata'))]);
}
// A metadata key that most of the loaded records have, with few values.
function guessKey() {
  const seen = metadataKeys();
  return seen[0]?.[0] ?? '';
}
export function metadataKeys() {
  const seen = new Map();
  for (const row of list.rows.slice(-300)) for (const [key, value] of Object.entries(row.metadata || {})) {
    if (value && typeof value === 'object') continue;
    const entry = seen.get(key) ?? { count: 0, values: new Set() };
    entry.count++;
    entry.values.add(value);
    seen.set(key, entry);
  }
  return [...seen].map(([key, { count, values }]) => [key, count, values.size]).sort((a, b) => (b[1] / Math.sqrt(b[2])) - (a[1] / Math.sqrt(a[2])));
}
export async function values(field, limit = 50) { return (await facet(field, limit)).values; }

function section(title, field, answer, extra) {
  const isLevel = field === 'level';
  let counted = (answer?.values ?? []).map(v => [v.value, v.count]);
  if (isLevel) { const by = new Map(counted); counted = LEVELS.filter(l => by.get(l) || mode(state.q, 'level', l)).map(l => [l, by.get(l) || 0]); }
  // What the query names is always to be seen.
  for (const token of tokens(state.q)) if (token.kind === 'term' && token.field && plainField(token.field) === plainField(field) && !/^[<>*]/.test(token.value)) for (const v of token.values) if (!isLevel && !counted.some(c => c[0] === v)) counted.push([v, 0]);
  const limit = facets.more.has(field) ? MORE_MAX : SHOWN, hidden = counted.length - limit + (answer?.other && counted.length >= limit ? 0 : 0);
  const named = counted.filter(([v]) => mode(state.q, field, v)), most = Math.max(...counted.map(v => v[1]), 1);
  counted = isLevel ? counted : [...counted.slice(0, limit), ...named.filter(v => counted.indexOf(v) >= limit)];
  const items = counted.map(([value, count]) => {
    const is = mode(state.q, field, value), name = value === '' ? '(empty)' : value;
    const li = h('li', { class: is }, h('button', { type: 'button', class: 'only', 'aria-pressed': String(is === 'in'), title: `Only ${name}`, on: { click: () => set({ q: toggle(state.q, field, value) }) } }, isLevel && glyph(value), isLevel ? h('span', {}, levelName(value)) : middle(name)),
      h('button', { type: 'button', class: 'not', 'aria-pressed': String(is === 'out'), 'aria-label': `Not ${name}`, title: `Not ${name}`, on: { click: () => set({ q: toggle(state.q, field, value, true) }) } }, icon('i-minus')), h('span', { class: 'n' }, num(count)));
    li.style.setProperty('--w', count / most);
    return li;
  });
  const more = hidden > 0 && h('button', { type: 'button', class: 'more', on: { click: () => { facets.more.add(field); paint(); } } }, `${num(hidden)} more…`);
  return h('section', {}, h('h2', {}, extra || title, named.length ? h('button', { type: 'button', 'aria-label': 'clear ' + title, on: { click: () => set({ q: without(state.q, field) }) } }, 'clear') : null), items.length ? h('ul', {}, items) : h('p', { class: 'more' }, answer ? 'none' : '…'), more);
}
// A click that is under way must find its button again: while a pointer is down nothing is replaced.
let isDown = false, isLate = false;
aside.addEventListener('pointerdown', () => { isDown = true; });
for (const type of ['pointerup', 'pointercancel']) addEventListener(type, () => { isDown = false; if (isLate) setTimeout(paint, 0); });
export function paint() {
  if (isDown) { isLate = true; return; }
  isLate = false;
  const chooser = h('select', { class: 'key', 'aria-label': 'Metadata key', on: { change: e => { facets.key = e.target.value; facets.metadata = null; kept.set('facet', facets.key); load(); } } }, [...new Set([facets.key, ...metadataKeys().map(k => k[0])])].filter(Boolean).map(key => h('option', { value: key, selected: key === facets.key }, 'metadata.' + key)));
  const focused = document.activeElement?.closest?.('#facets') ? [...aside.querySelectorAll('button, select')].indexOf(document.activeElement) : -1;
  aside.replaceChildren(h('header', {}, 'Filters', h('button', { type: 'button', class: 'icon', 'aria-label': 'Close', on: { click: show } }, icon('i-close'))),
    section('Level', 'level', facets.level), section('Application', 'application', facets.application), section('Source', 'source', facets.source), facets.key ? section(facets.key, metaField(), facets.metadata, chooser) : '');
  if (focused >= 0) [...aside.querySelectorAll('button, select')][focused]?.focus();
  const count = filterCount(state.q), badge = $('#filters-b .count');
  badge.hidden = !count;
  badge.textContent = count;
}
export function show() { const on = aside.classList.toggle('shown'); $('#filters-b').setAttribute('aria-expanded', String(on)); }
