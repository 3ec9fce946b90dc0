// An open record: its fields, its JSON, and what came before and after it from the same source.
import { $$, h, icon, act, glyph, shown, clock, copy, num, plural } from './dom.js';
import { ask, aborted } from './api.js';
import { state, set } from './state.js';
import { toggle, plainField } from './query.js';
import { pick, refresh, view, rows } from './list.js';

const VALUE_CHARS_MAX = 4000;
export const plainRecord = row => { const { id, timestamp, level, source, application, message, metadata } = row; return { id, timestamp, level, source, application, message, metadata }; };

// Fields as the query language names them; objects opened one after another.
export function fieldsOf(row) {
  const out = [['level', row.level], ['source', row.source], ['application', row.application], ['message', row.message]];
  const open = (prefix, object, depth) => {
    for (const [key, value] of Object.entries(object)) {
      if (value && typeof value === 'object' && !Array.isArray(value) && depth < 4 && Object.keys(value).length) open(prefix + key + '.', value, depth + 1);
      else out.push([prefix + key, value]);
    }
  };
  open('metadata.', row.metadata, 0);
  return out.filter(([, value]) => value !== '');
}
const textOf = value => (typeof value === 'string' ? value : JSON.stringify(value));

export function detail(row) {
  const memory = (row.detail ??= { tab: 'fields', before: 4, after: 4, context: null });
  const grid = h('div', { class: 'grid', 'data-tab': memory.tab });
  const show = tab => { memory.tab = tab; grid.dataset.tab = tab; for (const button of $$('[data-t]', grid)) button.setAttribute('aria-selected', String(button.dataset.t === tab)); };
  const tabs = () => h('span', { class: 'seg', role: 'tablist', 'aria-label': 'Show' }, [['fields', 'Fields'], ['json', 'JSON'], ['raw', 'Raw'], ['context', 'Context']].map(([id, title]) => h('button', { type: 'button', role: 'tab', 'aria-selected': String(id === memory.tab), 'data-t': id, on: { click: () => show(id) } }, title)));
  const shut = () => h('button', { type: 'button', class: 'shut', on: { click: () => pick(row, false) } }, 'Close ', h('kbd', {}, 'Esc'));
  const part = (id, title, right, ...body) => h('section', { 'data-p': id }, h('h3', {}, tabs(), h('span', { class: id === 'context' ? 'ctx-h' : 'rest' }, title), h('span', { class: 'r2' }, right, shut())), body);

  const write = (field, value, not) => set({ q: toggle(state.q, field, textOf(value), not) });
  const fields = fieldsOf(row).map(([field, value]) => {
    const text = textOf(value), name = plainField(field), comparable = value === null || typeof value !== 'object', cut = text.length > VALUE_CHARS_MAX;
    const content = h('span', { class: field === 'message' ? 'v whole' : 'v' }, shown(cut ? text.slice(0, VALUE_CHARS_MAX) : text, { ansi: view.ansi }));
    if (cut) content.append(' ', h('button', { type: 'button', class: 'link', on: { click: e => { e.target.parentElement.replaceChildren(...shown(text, { ansi: view.ansi })); view.onResize?.(row); } } }, `show all ${num(text.length)} characters`));
    const writable = comparable && field !== 'message' && text.length < 1000;
    return h('div', {}, h('span', { class: 'k' }, field.replace('metadata.', '')), content, h('span', { class: 'acts' },
      writable ? act(`Only ${name}:${text}`, 'i-plus', () => write(field, value)) : h('span', {}), writable ? act(`Not ${name}:${text}`, 'i-minus', () => write(field, value, true)) : h('span', {}), act('Copy the value', 'i-copy', () => copy(text))));
  });
  const record = plainRecord(row), pretty = JSON.stringify(record, null, 2), raw = JSON.stringify(record), tooLong = raw.length > 65536;
  const paintedJson = tooLong ? [pretty.slice(0, 65536), '\n…'] : pretty.split(/^(\s*"(?:[^"\\]|\\.)*":)/m).map(piece => (/^\s*"(?:[^"\\]|\\.)*":$/.test(piece) ? h('span', { class: 'k' }, piece) : shown(piece)));
  const context = h('ul', { class: 'ctx' }), count = h('span', {}, String(memory.before));
  const load = async () => {
    count.textContent = String(Math.max(memory.before, memory.after));
    try {
      memory.context = await ask(`/logs/${row.id}/context`, new URLSearchParams({ before: memory.before, after: memory.after }));
      paintContext(context, row, memory.context);
    } catch (error) { if (!aborted(error)) context.replaceChildren(h('li', { class: 'earlier' }, error.message)); }
    view.onResize?.(row);
  };
  const more = (before, after) => () => { memory.before = Math.max(0, Math.min(1000, memory.before + before)); memory.after = Math.max(0, Math.min(1000, memory.after + after)); load(); };
  const small = (label, id, run) => { const button = act(label, id, run); button.className = 'icon'; return button; };
  grid.append(
    part('fields', 'Fields', h('span', { class: 'wide' }, 'only · not · copy'), h('div', { class: 'kv' }, fields)),
    part('json', 'JSON', h('button', { type: 'button', on: { click: () => copy(pretty) } }, 'Copy'), h('pre', { class: 'json' }, paintedJson)),
    part('raw', 'Raw', [`${num(new Blob([raw]).size)} bytes `, h('button', { type: 'button', on: { click: () => copy(raw) } }, 'Copy')], h('pre', { class: 'rawline' }, shown(tooLong ? raw.slice(0, 65536) + '…' : raw))),
    part('context', 'Context', [h('button', { type: 'button', on: { click: more(20, 0) } }, '20 earlier'), ' · ', h('button', { type: 'button', on: { click: more(0, 20) } }, '20 later'), small('Fewer lines', 'i-minus', more(-2, -2)), count, small('More lines', 'i-plus', more(4, 4))], context));
  if (memory.context) paintContext(context, row, memory.context);
  else { context.append(h('li', { class: 'earlier' }, 'Reading…')); load(); }
  const open = h('div', { class: 'open', role: 'row' }, h('div', { role: 'gridcell' }, grid));
  open.record = { row, show, more, write };
  return open;
}
function paintContext(at, row, { before, log, after }) {
  const line = (each, here) => h('li', { class: here ? 'here' : null }, h('span', {}, glyph(each.level)), h('span', { class: 't', title: each.timestamp }, clock(Date.parse(each.timestamp), 'ms')), h('span', { title: each.message.slice(0, 1000) }, shown(each.message.slice(0, 500))));
  at.replaceChildren(...before.map(each => line(each)), line(log, true), ...after.map(each => line(each)),
    h('li', { class: 'earlier' }, before.length + after.length ? `Everything from ${row.source || 'no source'}, filters off` : `Nothing else from ${row.source || 'no source'}`));
}
