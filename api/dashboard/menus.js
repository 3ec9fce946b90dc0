// What opens over the page: ranges, saved views, columns, export.
import { $, $$, h, kept, say, stamp, zone } from './dom.js';
import { state, set, search, RANGES, instant, bounds, iso, isOpenEnded, params } from './state.js';
import * as list from './list.js';
import { metadataKeys } from './facets.js';

export function popup(id, on) {
  for (const pop of $$('.pop')) {
    if (pop.id === 'complete') continue;
    const show = pop.id === id && on;
    if (show && pop.hidden) fill[id]?.(pop);
    pop.hidden = !show;
    $(`[data-pop=${pop.id}]`).setAttribute('aria-expanded', String(show));
    if (show) $('input, button, a', pop)?.focus();
  }
}
export const isOpen = () => $$('.pop').some(pop => !pop.hidden && pop.id !== 'complete');
for (const button of $$('[data-pop]')) button.addEventListener('click', event => { event.stopPropagation(); popup(button.dataset.pop, $('#' + button.dataset.pop).hidden); });
addEventListener('click', event => { if (!event.target.closest('.pop')) popup(); });
// Arrow keys walk through an open menu; Escape gives the focus back.
addEventListener('keydown', event => {
  const pop = event.target.closest?.('.pop');
  if (!pop || pop.id === 'complete') return;
  const items = $$('button, a, input', pop), at = items.indexOf(event.target);
  if (event.key === 'ArrowDown' || event.key === 'ArrowUp') { event.preventDefault(); items[(at + (event.key === 'ArrowDown' ? 1 : items.length - 1)) % items.length].focus(); }
  if (event.key === 'Escape') { event.stopPropagation(); const button = $(`[data-pop=${pop.id}]`); popup(); button.focus(); }
}, true);

const opt = (on, left, right, run, sub) => h('button', { type: 'button', class: 'opt' + (on ? ' on' : ''), 'aria-pressed': String(Boolean(on)), on: { click: event => { event.stopPropagation(); run(); } } }, on ? h('b', {}, left) : left, sub && h('span', { class: 'mono sub' }, sub), right);
const key = text => h('span', { class: 'r' }, text);

// ---- ranges
export function rangeText() {
  const named = RANGES.find(([from]) => from === state.from);
  if (named && isOpenEnded()) return named[1];
  const { from, to } = bounds(), show = t => stamp(t).replace(/:00$/, '');
  if (isOpenEnded()) return /^-\d+\w$/.test(state.from) ? 'Last ' + state.from.slice(1) : `Since ${show(from)}`;
  if (from == null) return `Until ${show(to)}`;
  return stamp(from).slice(0, 10) === stamp(to).slice(0, 10) ? `${stamp(from).slice(0, 10)} ${stamp(from).slice(11)}–${stamp(to).slice(11)}` : `${show(from)} – ${show(to)}`;
}
const fill = {
  range(pop) {
    const { from, to } = bounds(), pick = from => { popup(); set({ from, to: '' }); };
    const fromField = h('input', { class: 'inp', spellcheck: 'false', 'aria-label': 'From' }), toField = h('input', { class: 'inp', spellcheck: 'false', 'aria-label': 'To' });
    fromField.value = /^-|^today/.test(state.from) ? state.from : from == null ? '' : stamp(from);
    toField.value = to == null ? 'now' : stamp(to);
    const wrong = h('p', { class: 'note bad', role: 'alert' });
    const show = () => {
      const a = fromField.value.trim(), b = toField.value.trim(), start = a ? instant(a) : null, end = b && b !== 'now' ? instant(b) : null;
      const bad = a && start == null ? a : b && b !== 'now' && end == null ? b : null;
      if (bad) { wrong.textContent = `“${bad}” is no time: write 2026-03-17 02:12, -90m, today or yesterday 14:00.`; return; }
      if (start != null && start >= (end ?? Date.now())) { wrong.textContent = 'It ends before it begins: From must be earlier than To.'; return; }
      popup();
      set({ from: a && /^-\d+[smhdw]$|^today$/.test(a) && end == null ? a : a ? iso(start) : '', to: end == null ? '' : iso(end), ...(end == null ? {} : { live: '' }) });
    };
    const enter = { keydown: event => { if (event.key === 'Enter') { event.preventDefault(); show(); } } };
    for (const field of [fromField, toField]) for (const [type, run] of Object.entries(enter)) field.addEventListener(type, run);
    pop.replaceChildren(
      h('div', {}, opt(state.live, 'Live', key('follows'), () => { popup(); set({ live: '1', ...(isOpenEnded() ? {} : { from: '-15m', to: '' }) }); }), RANGES.map(([from, title]) => opt(state.from === from && isOpenEnded() && !state.live, title, key(from.slice(from[0] === '-' ? 1 : 0) || ''), () => pick(from)))),
      h('div', {}, h('label', {}, 'From', fromField), h('label', {}, 'To', toField), wrong, h('p', { class: 'note' }, 'Also ', h('code', {}, '-90m'), ', ', h('code', {}, 'yesterday 14:00'), ` or a pasted timestamp. Times are ${zone.utc ? 'UTC' : 'local'}.`), h('button', { type: 'button', class: 'go', on: { click: show } }, 'Show')));
  },

  // ---- saved views: a query, a range and columns under a name
  views(pop) {
    const views = kept.get('views', []), now = viewOf(state), current = views.find(v => v.search === now.search);
    const keep = list => { kept.set('views', list); };
    const name = h('input', { class: 'inp', placeholder: 'Name of a new view', 'aria-label': 'Name of a new view', maxlength: 60 });
    const save = () => { const title = name.value.trim(); if (!title) return name.focus(); keep([...views.filter(v => v.name !== title), { name: title, ...now }]); popup(); paintViews(); say(`View “${title}” saved`); };
    name.addEventListener('keydown', event => { if (event.key === 'Enter') { event.preventDefault(); save(); } });
    pop.replaceChildren(h('p', { class: 'cap' }, 'Saved views'), ...(views.length ? [] : [h('p', { class: 'note' }, 'None yet.')]),
      ...views.map((v, i) => h('div', { class: 'line' }, opt(v === current, v.name, i < 9 ? h('span', { class: 'r' }, h('kbd', {}, 'g'), ' ', h('kbd', {}, String(i + 1))) : null, () => { popup(); apply(v); }, v.q || 'everything'), h('button', { type: 'button', class: 'icon', 'aria-label': `Forget ${v.name}`, title: 'Forget', on: { click: event => { event.stopPropagation(); keep(views.filter(w => w !== v)); fill.views(pop); paintViews(); } } }, '×'))),
      h('hr'), h('div', { class: 'line' }, name, h('button', { type: 'button', class: 'go', on: { click: save } }, 'Save')), h('p', { class: 'note' }, 'A view keeps the query, the range and the columns, in this browser.'));
  },

  columns(pop) {
    const chosen = list.columns(), keys = metadataKeys().slice(0, 12).map(([k]) => 'metadata.' + k);
    const all = [...new Set(['level', 'timestamp', 'source', 'application', ...chosen.map(c => c.name), ...keys])];
    pop.replaceChildren(h('p', { class: 'cap' }, 'Columns before the message'), ...all.map(name => {
      const is = chosen.some(c => c.name === name), box = h('input', { type: 'checkbox', on: { change: () => { list.setColumns(box.checked ? all.filter(n => n === name || chosen.some(c => c.name === n)).map(n => chosen.find(c => c.name === n) ?? { name: n }) : chosen.filter(c => c.name !== name)); fill.columns(pop); } } });
      box.checked = is;
      return h('label', { class: 'opt' }, box, name === 'timestamp' ? 'time' : name);
    }), h('p', { class: 'note' }, 'Drag the edge of a heading to resize.'));
  },

  export(pop) {
    const link = (format, title, about) => h('a', { class: 'opt', href: '/logs/export?' + params({ format }), download: `logs.${format}`, on: { click: () => setTimeout(popup, 0) } }, title, h('span', { class: 'r' }, about));
    pop.replaceChildren(h('p', { class: 'cap' }, 'All that matches, of any size'), link('ndjson', 'NDJSON', 'a record a line'), link('csv', 'CSV', 'for a table'));
  },
};
function viewOf(from) { const { q, from: start, to, cols, wrap } = from; return { q, from: start, to, cols, wrap, search: search({ ...from, open: '', live: '' }) }; }
export function apply(view) { const { q, from, to, cols, wrap } = view; set({ q: q || '', from: from || '', to: to || '', cols: cols || '', wrap: wrap || '', open: '' }); }
export const viewAt = i => kept.get('views', [])[i];
export function paintViews() { const now = viewOf(state).search, view = kept.get('views', []).find(v => v.search === now); $('[data-pop=views] span').textContent = view?.name ?? 'Views'; }
