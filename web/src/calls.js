// Functions in a worker, called from the page.

/** Thrown in the worker where the page has called `cancel`, and by the call itself. */
export class Cancelled extends Error {}

/** The page's side of a worker: `call(name, arguments)`. Calls are done one after the other. */
export class Remote {
  constructor(url) {
    this.worker = new Worker(url, { type: "module" });
    this.calls = new Map();
    this.count = 0;
    this.worker.onmessage = ({ data: { id, progress, result, error, cancelled } }) => {
      const call = this.calls.get(id);
      if (progress !== undefined) return call.progress(progress);
      this.calls.delete(id);
      if (cancelled) call.reject(new Cancelled());
      else if (error !== undefined) call.reject(new Error(error));
      else call.resolve(result);
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      for (const call of this.calls.values())
        call.reject(new Error(event.message || `${url}: this part of the page cannot be loaded`));
      this.calls.clear();
    };
  }

  call(name, parameters = {}, progress = () => {}) {
    const id = this.count++;
    const promise = new Promise((resolve, reject) => {
      this.calls.set(id, { resolve, reject, progress });
    });
    this.worker.postMessage({ id, name, parameters });
    return promise;
  }

  /** End all calls that are not done. */
  cancel() {
    for (const id of this.calls.keys()) this.worker.postMessage({ id, cancel: true });
  }
}

/**
 * The worker's side.
 *
 * @param {Object<string, (parameters: object, progress: (value: unknown) => Promise<void>) => unknown>}
 *   functions
 */
export function serve(functions) {
  const cancelled = new Set();
  let last = Promise.resolve();
  const run = async ({ id, name, parameters }) => {
    const progress = async (value) => {
      self.postMessage({ id, progress: value });
      await new Promise((resume) => setTimeout(resume)); // messages arrive now
      if (cancelled.has(id)) throw new Cancelled();
    };
    try {
      if (cancelled.has(id)) throw new Cancelled();
      self.postMessage({ id, result: await functions[name](parameters, progress) });
    } catch (error) {
      if (error instanceof Cancelled) self.postMessage({ id, cancelled: true });
      else self.postMessage({ id, error: error.message ?? String(error) });
    }
    cancelled.delete(id);
  };
  self.onmessage = ({ data }) => {
    if (data.cancel) cancelled.add(data.id);
    else last = last.then(() => run(data));
  };
}
