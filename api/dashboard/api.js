// Asking the server. Errors are the server's own words.
export class ApiError extends Error {
  constructor(status, error) { super(error.message); this.status = status; this.code = error.code; this.column = error.column; }
}
export async function ask(path, params, signal) {
  const text = params ? String(params) : '', started = performance.now();
  let response;
  try { response = await fetch(path + (text && '?' + text), { signal, headers: { accept: 'application/json' } }); }
  catch (error) { if (error.name === 'AbortError') throw error; away(true); throw new ApiError(0, { code: 'away', message: 'the server does not answer' }); }
  const body = await response.json().catch(() => null);
  if (!response.ok && !(body && body.status)) {
    if (response.status !== 503 || body?.error?.code === 'busy') away(false);
    throw new ApiError(response.status, body?.error ?? { code: 'broken', message: `the server answered ${response.status}` });
  }
  away(false);
  return Object.assign(body, { took: performance.now() - started });
}
const watchers = [];
let gone = null;
export const onAway = run => watchers.push(run);
export function away(is) {
  if (is === (gone !== null)) return;
  gone = is ? Date.now() : null;
  for (const run of watchers) run(gone);
}
// Runs only the newest of several askings: an older one is aborted.
export function newest() {
  let last = null;
  return () => { last?.abort(); last = new AbortController(); return last.signal; };
}
export const aborted = error => error.name === 'AbortError';
