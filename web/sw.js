// Keeps the site at hand for when its server is not: the network first, then what was kept.
//
// The page registers `sw.js?DIGEST`, so another site at the same address keeps its own files anew.

const KEPT = "audiocodec";
const CACHE = KEPT + self.location.search;

self.addEventListener("install", (event) => {
  const keep = async () => {
    const { files } = await (await fetch("site.json")).json();
    const cache = await caches.open(CACHE);
    await cache.addAll(["./", "site.json", ...files]);
    await self.skipWaiting();
  };
  event.waitUntil(keep());
});

self.addEventListener("activate", (event) => {
  const forget = async () => {
    const names = (await caches.keys()).filter((name) => name.startsWith(KEPT) && name !== CACHE);
    await Promise.all(names.map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(forget());
});

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
});

async function answer(request) {
  try {
    return await fetch(request);
  } catch (error) {
    const cache = await caches.open(CACHE);
    const kept = await cache.match(request);
    if (kept) return kept;
    throw error;
  }
}
