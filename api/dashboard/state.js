// The page's state is its address: the query, the range, the columns, the open record. A link shows the same.
import { kept, zone } from './dom.js';

const defaults = { q: '', from: '-1h', to: '', live: '', open: '', cols: '', wrap: '' };
export const state = { ...defaults };
export const COLUMNS = ['level', 'timestamp', 'source', 'application'];
const listeners = [];
export const onChange = run => listeners.push(run);

export function readAddress() {
  const params = new URLSearchParams(location.search);
  for (const name of Object.keys(defaults)) state[name] = params.get(name) ?? defaults[name];
  if (params.has('all')) state.from = '';
  zone.utc = (params.get('tz') ?? kept.get('tz', 'utc')) !== 'local';
}
export function search(from = state) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(defaults)) if (from[name] !== value && from[name]) params.set(name, from[name]);
  if (!from.from && !from.to) params.set('all', '1');
  if (!zone.utc) params.set('tz', 'local');
  const text = params.toString().replaceAll('%3A', ':').replaceAll('%2C', ',');
  return text ? '?' + text : location.pathname;
}
// Changes the state and the address. `quiet` replaces the entry in the history, as for an open row.
export function set(changes, { quiet = false } = {}) {
  const before = { ...state };
  Object.assign(state, changes);
  const address = (search() === location.pathname ? location.pathname : search()) + location.hash;
  if (address !== location.pathname + location.search + location.hash) history[quiet ? 'replaceState' : 'pushState'](null, '', address);
  for (const run of listeners) run(state, before);
}
addEventListener('popstate', () => { const before = { ...state }; readAddress(); for (const run of listeners) run(state, before); });

// ---- ranges: relative ones as the server reads them (-90m), absolute ones as RFC 3339
const UNITS = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3, w: 604800e3 };
export const RANGES = [['-5m', 'Last 5 minutes'], ['-15m', 'Last 15 minutes'], ['-1h', 'Last hour'], ['-6h', 'Last 6 hours'], ['-24h', 'Last 24 hours'], ['-7d', 'Last 7 days'], ['today', 'Today'], ['', 'All time']];

export function startOfDay(t) {
  const d = new Date(t);
  return zone.utc ? Date.UTC(d.getUTCFullYear(), d.getUTCMonth(), d.getUTCDate()) : new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime();
}
// The instant that a text means, or null: -90m, now, today, yesterday 14:00, 2026-03-17 02:12:00, seconds since 1970.
export function instant(text, now = Date.now()) {
  text = text.trim();
  const relative = /^(?:now)?-(\d+)([smhdw])$/.exec(text);
  if (relative) return now - relative[1] * UNITS[relative[2]];
  if (text === 'now') return now;
  const named = /^(today|yesterday)(?:\s+(\d{1,2}):(\d{2})(?::(\d{2}))?)?$/.exec(text);
  if (named) return startOfDay(now) - (named[1] === 'yesterday' ? 864e5 : 0) + ((+named[2] || 0) * 3600 + (+named[3] || 0) * 60 + (+named[4] || 0)) * 1e3;
  if (/^\d{10}(\.\d+)?$/.test(text)) return text * 1e3;
  if (/^\d{13}$/.test(text)) return +text;
  const iso = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?))?\s*(Z|[+-]\d{2}:?\d{2})?$/i.exec(text);
  if (!iso) return null;
  const t = Date.parse(`${iso[1]}T${(iso[2] || '00:00').replace(',', '.')}${iso[3] || (zone.utc ? 'Z' : '')}`);
  return Number.isNaN(t) ? null : t;
}
// The range as numbers, now: null where it is open.
export function bounds(of = state, now = Date.now()) {
  return { from: of.from ? instant(of.from, now) : null, to: of.to && of.to !== 'now' ? instant(of.to, now) : null, now };
}
export const iso = t => new Date(t).toISOString();
export const isOpenEnded = (of = state) => !of.to || of.to === 'now';

// The filter's parameters for the API. `shift` moves the range, as for the span before.
export function params({ q = state.q, shift = 0, ...more } = {}, now = Date.now()) {
  const { from, to } = bounds(state, now), out = new URLSearchParams();
  if (q) out.set('q', q);
  if (from != null) out.set('from', iso(from - shift));
  if (to != null || shift) out.set('to', iso((to ?? now) - shift));
  for (const [name, value] of Object.entries(more)) out.set(name, value);
  return out;
}
