// The query field: painted as it is read, completed with what there is, and told where it is wrong.
import { $, h, glyph, num, kept, clock } from './dom.js';
import { state, set } from './state.js';
import { tokens, termAt, FIELDS, term, quotedValue, plainField } from './query.js';
import { values, metadataKeys } from './facets.js';

export const input = $('#q');
const mirror = $('.mirror'), note = $('#q-note'), popup = $('#complete'), HISTORY_MAX = 30;
let problem = null, options = [], chosen = -1, asked = 0, completing = Promise.resolve(), underWay = false;

export function paint() {
  const parts = [];
  const bad = problem?.column != null ? problem.column - 1 : -1;
  for (const token of tokens(input.value)) {
    const end = token.at + token.text.length, wrong = bad >= token.at && (bad < end || (bad >= input.value.length && end === input.value.length)), cls = wrong ? 'bad' : null;
    if (token.kind === 'or' || token.kind === 'paren') parts.push(h('span', { class: wrong ? 'n bad' : 'n' }, token.text));
    else if (token.kind === 'term' && token.field !== null) { const at = token.text.length - token.value.length; parts.push(h('span', { class: cls }, token.not && h('span', { class: 'n' }, '-'), h('span', { class: 'k' }, token.text.slice(token.not ? 1 : 0, at)), h('span', { class: 'v' }, token.value))); }
    else if (token.kind === 'term' && token.not) parts.push(h('span', { class: cls }, h('span', { class: 'n' }, '-'), token.text.slice(1)));
    else parts.push(cls ? h('span', { class: cls }, token.text) : token.text);
  }
  mirror.replaceChildren(...parts);
  mirror.scrollLeft = input.scrollLeft;
}
export function show() { if (document.activeElement !== input || input.value.trim() !== state.q) input.value = state.q; paint(); }
// What the server says is wrong, under the word; null when all is well.
export function tell(error) {
  problem = error;
  note.hidden = !error;
  input.toggleAttribute('aria-invalid', Boolean(error));
  if (error) { input.setAttribute('aria-invalid', 'true'); note.replaceChildren(glyph('ERROR'), error.message, $('.row') ? '. Below is still the last good query.' : '.'); }
  paint();
}

// ---- completion
const option = (left, right, run) => ({ run, node: h('button', { type: 'button', class: 'opt', role: 'option', tabindex: -1, 'aria-selected': 'false', on: { pointerdown: e => { e.preventDefault(); run(); } } }, left, right) });
const mono = (head, rest) => h('span', { class: 'mono' }, h('b', {}, head), rest);
function bar(share) { const i = h('i'); i.style.width = share * 100 + '%'; return h('span', { class: 'bar-s' }, i); }
function put(text, from, to, done) {
  input.value = input.value.slice(0, from) + text + input.value.slice(to);
  input.setSelectionRange(from + text.length, from + text.length);
  if (done) run(); else { paint(); complete(); }
}
export function complete() {
  underWay = true;
  const mine = completing = offer();
  mine.finally(() => { if (mine === completing) underWay = false; });
}
async function offer() {
  const mine = ++asked, cursor = input.selectionStart, at = termAt(input.value, cursor), groups = [];
  const typed = at ? input.value.slice(at.at + (at.not ? 1 : 0), cursor) : '';
  // A field without its value yet is no field to the language.
  const field = at?.field ?? /^([^"(]+):$/.exec(typed)?.[1], colon = field != null ? typed.indexOf(':') : -1;
  const start = at ? at.at + (at.not ? 1 : 0) : cursor, end = at ? at.at + at.text.length : cursor;
  const known = [...FIELDS.filter(f => f !== 'message' && f !== 'id'), ...metadataKeys().map(k => plainField('metadata.' + k[0]))];
  const valuesOf = async (field, prefix) => {
    if (field === 'timestamp' || field === 'id' || field === 'message') return;
    const name = ['level', 'source', 'application'].includes(field) || field.startsWith('metadata.') ? field : 'metadata.' + field;
    const found = (await values(name).catch(() => [])).filter(v => v.value.toLowerCase().includes(prefix.toLowerCase())).slice(0, 8), most = Math.max(...found.map(v => v.count), 1);
    if (found.length) groups.push([`Values of ${field} in this range`, found.map(v => option(mono('', term(field, [v.value])), [bar(v.count / most), h('span', { class: 'r' }, num(v.count))], () => put(term(field, [v.value]) + (end === input.value.length ? ' ' : ''), start, end, true)))]);
  };
  if (colon >= 0) await valuesOf(field, typed.slice(colon + 1).replace(/^["(]/, ''));
  else {
    const lower = typed.toLowerCase(), fields = typed ? known.filter(f => f.toLowerCase().startsWith(lower) || f.toLowerCase().includes('.' + lower)) : known.slice(0, 6);
    if (typed && fields.length === 1) await valuesOf(fields[0], '');
    if (fields.length) groups.push(['Fields', fields.slice(0, 6).map(f => option(mono(f.slice(0, typed.length), f.slice(typed.length) + ':'), null, () => put(f + ':', start, end)))]);
    const before = kept.get('history', []).filter(q => q !== input.value.trim() && (!input.value.trim() || q.includes(input.value.trim()))).slice(0, 4);
    if (before.length) groups.push(['Before', before.map(q => option(mono('', q), null, () => put(q, 0, input.value.length, true)))]);
  }
  if (mine !== asked || document.activeElement !== input) return;
  options = groups.flatMap(g => g[1]);
  chosen = -1;
  popup.replaceChildren(h('div', { role: 'listbox', 'aria-label': 'Completions', id: 'options' }, groups.map(([title, list]) => [h('p', { class: 'cap', role: 'presentation' }, title), list.map(o => o.node)])), groups.length ? h('hr') : '',
    h('p', { class: 'note' }, [['words', 'all occur'], ['"a phrase"'], ['-not'], ['or'], ['field:value'], ['field:>n'], ['level:>=warn', 'and above']].map(([a, b]) => h('span', {}, h('code', {}, a), b && ' ' + b)), h('span', {}, h('kbd', {}, 'Tab'), ' takes  ', h('kbd', {}, 'Enter'), ' runs')));
  options.forEach((o, i) => { o.node.id = 'option-' + i; });
  open(true);
}
function open(on) { popup.hidden = !on; input.setAttribute('aria-expanded', String(on)); if (!on) { input.removeAttribute('aria-activedescendant'); asked++; } }
function choose(at) {
  options[chosen]?.node.classList.remove('on');
  options[chosen]?.node.setAttribute('aria-selected', 'false');
  chosen = (at + options.length + 1) % (options.length + 1);
  if (chosen === options.length) chosen = -1;
  const node = options[chosen]?.node;
  if (!node) return input.removeAttribute('aria-activedescendant');
  node.classList.add('on');
  node.setAttribute('aria-selected', 'true');
  node.scrollIntoView({ block: 'nearest' });
  input.setAttribute('aria-activedescendant', node.id);
}
// What stands in the popup may be for what was there before the last letter: the offer that is under way is waited for.
function take() { const mine = completing; mine.then(() => { if (mine === completing && !popup.hidden) options[Math.max(chosen, 0)]?.run(); }); }
export function run() {
  const q = input.value.trim();
  open(false);
  if (q) kept.set('history', [q, ...kept.get('history', []).filter(h => h !== q)].slice(0, HISTORY_MAX));
  if (q === state.q) return set({}, { quiet: true });
  set({ q });
}
input.addEventListener('focus', complete);
input.addEventListener('blur', () => open(false));
input.addEventListener('input', () => { if (problem) tell(null); chosen = -1; paint(); complete(); });
input.addEventListener('scroll', () => { mirror.scrollLeft = input.scrollLeft; });
for (const type of ['keyup', 'click']) input.addEventListener(type, () => { mirror.scrollLeft = input.scrollLeft; });
input.addEventListener('keydown', event => {
  if (event.key === 'ArrowDown' || event.key === 'ArrowUp') { event.preventDefault(); if (popup.hidden) complete(); else choose(chosen + (event.key === 'ArrowDown' ? 1 : chosen < 0 ? 0 : -1)); }
  else if (event.key === 'Tab' && !event.shiftKey && !popup.hidden && (options.length || underWay) && input.value.trim()) { event.preventDefault(); take(); }
  else if (event.key === 'Enter') { event.preventDefault(); if (chosen >= 0 && !popup.hidden) options[chosen].run(); else { run(); input.blur(); } }
  else if (event.key === 'Escape') { if (popup.hidden) input.blur(); else open(false); event.stopPropagation(); }
});
$('.ask').addEventListener('submit', event => { event.preventDefault(); run(); });
