// Keeps the page at hand for when its server is not: the network first, then what was kept.

const CACHE = "audiocodec";

self.addEventListener("install", (event) => {
  const keep = async () => {
    const { files } = await (await fetch("site.json")).json();
    const cache = await caches.open(CACHE);
    await cache.addAll(["./", "site.json", ...files]);
    await self.skipWaiting();
  };
  event.waitUntil(keep());
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const inside = request.url.startsWith(self.registration.scope);
  if (request.method === "GET" && inside) event.respondWith(answer(request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.status === 200) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(request, { ignoreVary: true });
    if (kept) return kept;
    throw error;
  }
}
