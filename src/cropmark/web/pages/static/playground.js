// The playground. Its state is a site, a path and a query, all in the URL's fragment: `#/fastly/rocket.jpg?width=640`.
// A site with endpoints has the image in its query: `#/pixlab/crop?img=/fastly/rocket.jpg&width=640`.
// Every change passes through change(), which writes the fragment, draws the controls and renders the image.

import { makeSelection } from "./selection.js";
import { ENDPOINT_SNIPPETS, HEIGHTS, SNIPPETS, presetToml } from "./snippets.js";

const byId = (id) => document.getElementById(id);
const SMALL_DELAY_MS = 150;
const SAFE_IN_QUERY = /%(2C|3A|2F|40|24|21|2A|3B)/gi; // , : / @ $ ! * ; stay readable

const { sites } = await (await fetch("/_playground/data")).json();
const imageSites = sites.filter((site) => !site.requests);
// `from` is the site of the image: `site` itself, or for endpoints another one. `found` has the parameters that find the
// image in `from`, if `site` has endpoints: an environment of the library.
const state = { site: sites[0], from: imageSites[0], endpoint: "", path: "", params: new Map(), found: new Map(), upload: null };
let selection = null;
let pending = 0;
let latest = 0; // the number of the newest request: results of older ones are dropped
let fetched = { address: "", image: null }; // the last original for an endpoint, as the promise of original()

// ---------------------------------------------------------------------------------------------- URL and state

function encoded(text) {
  return encodeURIComponent(text).replace(SAFE_IN_QUERY, decodeURIComponent);
}

function query(params = state.params) {
  return [...params].filter(([, value]) => value !== "").map(([name, value]) => `${encoded(name)}=${encoded(value)}`).join("&");
}

function withQuery(path, params) {
  const text = query(params);
  return text ? `${path}?${text}` : path;
}

function pathOf(site, path) {
  return `${site.prefix}/${path.split("/").map(encoded).join("/")}`;
}

function controls() {
  return state.site.requests ? state.site.requests[state.endpoint] : state.site.controls;
}

// The parameters without which the site does not find the image.
function finding(params = state.params) {
  return new Map([...params].filter(([name]) => state.from?.finding.includes(name)));
}

function originalUrl() {
  return state.from ? withQuery(pathOf(state.from, state.path), state.site.requests ? state.found : finding()) : "";
}

function url(params = state.params, origin = location.origin) {
  if (!state.site.requests) return withQuery(pathOf(state.site, state.path), params);
  const image = state.upload || !state.path ? [] : [["img", origin + originalUrl()]];
  return withQuery(`${state.site.prefix}/${state.endpoint}`, new Map([...image, ...params]));
}

// True if requests need the image in their body: an image of the user's own, or one for an endpoint.
function sendsImage() {
  return Boolean(state.upload || state.site.requests);
}

function urlForWidth(width, given = state.params) {
  const params = new Map(given);
  const before = Number.parseFloat(params.get(state.site.width) ?? "");
  const name = HEIGHTS[state.site.width];
  const height = Number.parseFloat(params.get(name) ?? "");
  if (before > 1 && height > 1) params.set(name, String(Math.round((height * width) / before))); // both sides: the shape stays
  return url(params.set(state.site.width, String(width)));
}

function siteOf(path, among) {
  const rest = (site) => path.slice(site.prefix.length + 1);
  const serves = (site) => path.startsWith(`${site.prefix}/`) && (!site.paths || new RegExp(`^(?:${site.paths})`, "i").test(rest(site)));
  return among.filter(serves).sort((a, b) => b.prefix.length - a.prefix.length || Boolean(b.paths) - Boolean(a.paths))[0];
}

function readFragment() {
  const [path, params] = splitUrl(location.hash.slice(1));
  const site = siteOf(path, sites);
  if (!site) return;
  state.site = site;
  state.params = params;
  if (site.requests) {
    const endpoint = path.slice(site.prefix.length + 1);
    state.endpoint = endpoint in site.requests ? endpoint : Object.keys(site.requests)[0];
    readImage((params.get("img") ?? "").replace(location.origin, ""));
    params.delete("img");
  } else {
    state.from = site;
    state.path = path.slice(site.prefix.length + 1);
  }
}

// The image of an endpoint's request: one of this server, by its path.
function readImage(address) {
  const [path, params] = splitUrl(address);
  const site = siteOf(path, imageSites);
  if (!site) return chooseFirst();
  Object.assign(state, { from: site, path: path.slice(site.prefix.length + 1), found: params });
}

function splitUrl(text) {
  const [path, search = ""] = text.split(/\?(.*)/s);
  return [decoded(path), new Map(new URLSearchParams(search.replaceAll("+", "%2B")))];
}

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function change({ redraw = true } = {}) {
  history.replaceState(null, "", `#${url(state.params, "")}`);
  if (redraw) drawControls();
  showUrl();
  clearTimeout(pending);
  pending = setTimeout(render, SMALL_DELAY_MS);
}

function setParam(name, value) {
  if (value === "") state.params.delete(name); else state.params.set(name, value);
}

// ---------------------------------------------------------------------------------------------- choosing an image

function drawChoice() {
  const title = (site) => `${site.title} (${site.prefix || "/"})${site.paths ? ", library" : ""}`;
  byId("site").replaceChildren(...sites.map((site) => new Option(title(site), site.name, false, site === state.site)));
  byId("endpoint").replaceChildren(...Object.keys(state.site.requests ?? {}).map((name) => new Option(name, name, false, name === state.endpoint)));
  byId("endpoint").parentElement.hidden = !state.site.requests;
  drawImages();
  byId("path").value = state.path;
  byId("samples").replaceChildren(...state.site.samples.map((sample) => {
    const button = element("button", { type: "button" }, sample.label);
    button.addEventListener("click", () => { state.params = new Map([...finding(), ...sampleParams(sample)]); change(); });
    return button;
  }));
}

function sampleParams(sample) {
  const known = controls().map((each) => each.name);
  return [...new URLSearchParams(sample.query)].filter(([name]) => known.includes(name));
}

function drawImages() {
  const images = state.from?.images ?? [];
  byId("paths").replaceChildren(...images.map((image) => new Option(image.name, image.path)));
  byId("images").replaceChildren(...images.map((image) => {
    const button = element("button", { type: "button", title: image.name, "aria-pressed": String(image.path === state.path && !state.upload) });
    const params = new Map([...Object.entries(image.query), ...new URLSearchParams(state.from.thumbnail)]);
    button.append(element("img", { src: withQuery(pathOf(state.from, image.path), params), alt: image.name, loading: "lazy", fetchpriority: "low", width: 96, height: 54 }));
    button.addEventListener("click", () => { chooseImage(image); drawChoice(); showOriginal(); change(); });
    const item = element("li");
    item.append(button);
    return item;
  }));
  byId("images").hidden = !images.length;
  byId("listed").textContent = images.length ? `${images.length === state.from.total ? "" : `${images.length} of `}${state.from.total} images of ${state.from.place}.` : "";
}

function chooseImage(image) {
  state.path = image.path;
  state.upload = null;
  byId("file").value = "";
  if (state.site.requests) state.found = new Map(Object.entries(image.query));
  else state.params = new Map([...Object.entries(image.query), ...[...state.params].filter(([name]) => !state.from.finding.includes(name))]);
}

// The first image of the site, or of the first site that lists images.
function chooseFirst() {
  if (state.site.requests) state.from = imageSites.find((site) => site.images.length) ?? imageSites[0];
  else state.from = state.site;
  const image = state.from?.images[0];
  if (image) chooseImage(image); else state.path = "";
}

function chooseSite(site) {
  const before = { from: state.from, path: state.path, found: state.site.requests ? state.found : finding() };
  state.site = site;
  state.endpoint = Object.keys(site.requests ?? {})[0] ?? "";
  state.params = new Map(site.requests ? sampleParams(site.samples[0]) : []); // an endpoint requires most of its parameters
  if (state.upload) { state.from = site.requests ? before.from : site; return; }
  if (site.requests && before.from) Object.assign(state, before);
  else if (site.images.some((image) => image.path === before.path)) Object.assign(state, { from: site, path: before.path, params: before.found });
  else chooseFirst();
}

function takeUpload(file) {
  if (!file) return;
  state.upload = file;
  state.path = file.name;
  drawChoice();
  showOriginal();
  change();
}

function showOriginal() {
  const image = byId("original");
  image.src = state.upload ? URL.createObjectURL(state.upload) : originalUrl();
  byId("under").src = image.src;
  byId("original-facts").textContent = "";
  image.onload = async () => {
    const size = `${image.naturalWidth} × ${image.naturalHeight}`;
    byId("original-facts").textContent = size;
    byId("original-facts").textContent = `${size}, ${bytes(await originalBytes())}`;
  };
  selection?.clear();
}

// ---------------------------------------------------------------------------------------------- controls

function drawControls() {
  const make = (each) => controlFor(each);
  const others = controls().filter((each) => !each.common && !state.params.has(each.name));
  byId("common").replaceChildren(...controls().filter((each) => !others.includes(each)).map(make));
  byId("others").replaceChildren(...others.map(make));
  byId("all").hidden = !others.length;
  filterControls();
  drawTools();
}

function controlFor(spec) {
  const id = `p-${spec.name}`;
  const box = element("div", { class: "control", "data-name": spec.name });
  const label = element("label", { for: id }, spec.name);
  const note = element("p", { id: `${id}-note`, class: "quiet" });
  note.append(...withCode(spec.default ? `${spec.about} Default: ${spec.default}.` : spec.about));
  const text = spec.kind === "choice" ? choice(spec) : element("input", { placeholder: `e.g. ${spec.example}`, spellcheck: "false", autocomplete: "off" });
  setAttributes(text, { id, "aria-describedby": `${id}-note` });
  text.value = state.params.get(spec.name) ?? "";
  const extra = helper(spec, text);
  text.addEventListener("input", () => { setParam(spec.name, text.value.trim()); extra?.follow(); change({ redraw: false }); });
  const row = element("div", { class: "row" });
  row.append(text, ...(extra ? [extra.input] : []));
  box.append(label, row, note);
  return box;
}

function choice(spec) {
  const select = element("select");
  const value = state.params.get(spec.name);
  const known = value === undefined || spec.options.includes(value) ? [] : [value];
  select.append(new Option("–", ""), ...[...spec.options, ...known].map((word) => new Option(word, word)));
  return select;
}

// A slider or a color next to the text, which stays the value that counts.
function helper(spec, text) {
  if (spec.kind === "range") {
    const input = element("input", { type: "range", min: spec.min, max: spec.max, step: spec.step, "aria-label": `${spec.name}, slider` });
    const follow = () => { const n = Number.parseFloat(text.value || spec.default); input.value = Number.isFinite(n) ? n : spec.min; };
    input.addEventListener("input", () => { text.value = input.value; text.dispatchEvent(new Event("input")); });
    follow();
    return { input, follow };
  }
  if (spec.kind === "color") {
    const input = element("input", { type: "color", "aria-label": `${spec.name}, color` });
    const follow = () => { if (/^#?[0-9a-f]{6}$/i.test(text.value)) input.value = `#${text.value.replace("#", "").toLowerCase()}`; };
    input.addEventListener("input", () => { text.value = input.value.slice(1); text.dispatchEvent(new Event("input")); });
    follow();
    return { input, follow };
  }
  return null;
}

function filterControls() {
  const wanted = byId("filter").value.trim().toLowerCase();
  for (const box of byId("others").children) box.hidden = !box.textContent.toLowerCase().includes(wanted);
}

function drawTools() {
  const known = controls().map((each) => each.name);
  const names = Object.keys(state.site.selections).filter((tool) => Object.keys(state.site.selections[tool]).every((name) => known.includes(name)));
  const chosen = document.querySelector("#tools input:checked")?.value;
  byId("tools").replaceChildren(...names.map((name, at) => {
    const label = element("label", { class: "tool" });
    const input = element("input", { type: "radio", name: "tool", value: name });
    input.checked = chosen ? name === chosen : at === 0;
    label.append(input, name);
    return label;
  }));
  document.querySelector(".tools fieldset").hidden = !names.length;
}

// ---------------------------------------------------------------------------------------------- drawing on the image

function applySelection(box, natural) {
  const tool = document.querySelector("#tools input:checked")?.value;
  const templates = state.site.selections[tool];
  if (!templates) return;
  const values = selectionValues(tool, box, natural);
  for (const [name, template] of Object.entries(templates)) {
    if (template === "{default}" && state.params.get(name)) continue;
    setParam(name, template.replace(/\{(\w+)\}/g, (_, key) => values[key]));
  }
  change();
}

function selectionValues(tool, box, natural) {
  if (tool === "trim") {
    return { top: box.top, left: box.left, right: natural.width - box.left - box.width, bottom: natural.height - box.top - box.height };
  }
  const x = (box.left + box.width / 2) / natural.width;
  const y = (box.top + box.height / 2) / natural.height;
  const ratio = /^[\d.]+:[\d.]+/.exec(state.params.get("crop") ?? "")?.[0] ?? "1:1";
  return { ...box, ratio, across: Math.round(x * 100), down: Math.round(y * 100), share_x: x.toFixed(3), share_y: y.toFixed(3), default: 400 };
}

// ---------------------------------------------------------------------------------------------- rendering

async function render() {
  const number = ++latest;
  byId("result").setAttribute("aria-busy", "true");
  const [image, told] = await Promise.allSettled([loadImage(), explain()]);
  if (number !== latest) return;
  byId("result").removeAttribute("aria-busy");
  const explanation = told.value ?? {};
  showMessages(image.value, explanation);
  if (image.value?.blob) showResult(image.value);
  showTranslations(explanation.translations ?? []);
  if (byId("smart").open) showAnalysis();
}

async function loadImage() {
  const began = performance.now();
  const response = sendsImage() ? await send("render") : await fetch(url());
  const type = response.headers.get("content-type") ?? "";
  if (!response.ok) return { problem: await problemOf(response, type) };
  const blob = await response.blob();
  return { blob, type, timing: response.headers.get("server-timing") ?? "", ms: performance.now() - began };
}

async function problemOf(response, type) {
  if (!type.includes("json")) return { status: response.status, detail: (await response.text()).slice(0, 500) };
  const body = await response.json().catch(() => ({}));
  return { status: response.status, detail: body.detail ?? body.message ?? "the request failed", fix: body.fix ?? "" };
}

async function explain() {
  return (sendsImage() ? await send("explain") : await fetch(`/_explain?format=json&url=${encodeURIComponent(url())}`)).json();
}

// The answer to a request with the image in its body: "render", "explain", "analysis" or "info". If the image cannot be
// fetched, it is the answer to that request.
async function send(kind) {
  const image = state.upload ?? await original();
  if (image instanceof Response) return image.clone();
  return fetch(`/_playground/${kind}?url=${encodeURIComponent(url())}`, { method: "POST", body: image });
}

// The original for an endpoint, or the response with an error, which is not kept. Requests at the same time share it.
function original() {
  const address = originalUrl();
  if (fetched.address !== address) fetched = { address, image: download(address) };
  return fetched.image;
}

async function download(address) {
  let image = null;
  try {
    const response = await fetch(address);
    if (response.ok) image = await response.blob();
    return image ?? response;
  } finally {
    if (!image && fetched.address === address) fetched = { address: "", image: null };
  }
}

function showResult({ blob, type, timing, ms }) {
  const image = byId("result");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
  image.onload = async () => {
    const from = await originalBytes();
    const part = from ? Math.round((1 - blob.size / from) * 100) : 0;
    const saved = part ? `, ${Math.abs(part)} % ${part > 0 ? "smaller" : "larger"}` : "";
    byId("result-facts").textContent = `${image.naturalWidth} × ${image.naturalHeight}, ${type.replace("image/", "").toUpperCase()}, ${bytes(blob.size)}${saved}`;
  };
  byId("timing").textContent = `${stages(timing)}Total ${Math.round(ms)} ms, with the network.`;
}

const lengths = new Map(); // promises of the bytes of originals, by URL; 0 is unknown
async function originalBytes() {
  if (state.upload) return state.upload.size;
  const address = byId("original").src;
  if (!lengths.has(address)) lengths.set(address, contentLength(address).catch(() => 0));
  const length = await lengths.get(address);
  if (!length) lengths.delete(address); // asked again with the next result
  return length;
}

async function contentLength(address) {
  const response = await fetch(address, { method: "HEAD" });
  return response.ok ? Number(response.headers.get("content-length") ?? 0) : 0;
}

function stages(header) {
  return header.split(",").map((part) => part.trim().split(";")).filter(([name]) => name).map(([name, value = ""]) => {
    const [key, text] = value.split("=");
    return key === "dur" ? `${name} ${text} ms` : `${name}: ${text}`;
  }).join(" · ") + (header ? ". " : "");
}

function showMessages(image, explanation) {
  const problem = image?.problem ? { ...image.problem, ...explanation.problem } : null;
  const lines = [];
  if (problem) lines.push(["problem", `${problem.status}: ${problem.detail}${problem.fix ? `. Fix: ${problem.fix}` : ""}`]);
  const warnings = [...(explanation.warnings ?? []), ...(explanation.recipe?.warnings ?? []).map((each) => `${each.parameter}: ${each.text}`)];
  for (const text of warnings) lines.push(["warning", text]);
  byId("messages").replaceChildren(...lines.map(([kind, text]) => element("p", { class: kind }, text)));
  for (const box of document.querySelectorAll(".control")) {
    box.querySelector(".error")?.remove();
    const input = box.querySelector("input, select");
    input.removeAttribute("aria-invalid");
    const name = box.dataset.name;
    const text = problem?.parameter === name ? `${problem.detail}. ${problem.fix ?? ""}` : warnings.find((each) => each.startsWith(`${name}: `));
    if (!text) continue;
    if (problem?.parameter === name) input.setAttribute("aria-invalid", "true");
    box.append(element("p", { class: "error" }, text));
  }
}

function showTranslations(translations) {
  byId("translations").replaceChildren(...translations.flatMap((each) => {
    const value = element("dd");
    const endpoint = each.endpoint ? `${each.endpoint}?` : "?";
    value.append(each.query === undefined ? element("em", {}, "cannot be expressed") : element("code", {}, endpoint + each.query));
    if (each.same) value.append(" (equivalent)");
    if (each.differs) {
      const list = element("ul");
      list.append(...each.differs.map((text) => element("li", {}, inWords(text))));
      value.append(list);
    }
    return [element("dt", {}, each.dialect), value];
  }));
}

// ---------------------------------------------------------------------------------------------- taking it along

function showUrl() {
  const absolute = location.origin + url() + (state.site.requests ? `${url().includes("?") ? "&" : "?"}key=YOUR_KEY` : "");
  byId("url").value = absolute;
  byId("open").href = url();
  byId("explain").href = `/_explain?url=${encodeURIComponent(url())}`;
  byId("info").href = `/_info${originalUrl()}`;
  byId("links").hidden = sendsImage();
  byId("copied").textContent = urlNote();
  const snippets = state.site.requests ? ENDPOINT_SNIPPETS : SNIPPETS;
  if (byId("snippet").options[0]?.text !== snippets[0].name) byId("snippet").replaceChildren(...snippets.map((each) => new Option(each.name, each.name)));
  const snippet = snippets.find((each) => each.name === byId("snippet").value) ?? snippets[0];
  byId("code").textContent = snippet.code({ absolute, url, urlForWidth, state, origin: location.origin });
  byId("as-preset").hidden = Boolean(state.site.requests);
  byId("toml").textContent = presetToml(state.site, byId("preset").value, query());
}

function urlNote() {
  if (state.site.requests) return "Put your API key in place of YOUR_KEY. The server fetches img from allowed hosts only; the code below sends a file.";
  return state.upload ? "Your image is not on the server: put it into the folder to use this URL." : "";
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    byId("copied").textContent = `${what} copied.`;
  } catch {
    byId("url").select();
    byId("copied").textContent = "Press Ctrl+C to copy: the browser allows no other way here.";
  }
}

async function showAnalysis() {
  const number = latest;
  const drawing = sendsImage() ? await send("analysis") : await fetch(`/_explain.png?url=${encodeURIComponent(url())}`);
  const response = sendsImage() ? await send("info") : await fetch(byId("info").href);
  if (number !== latest) return;
  const image = byId("analysis");
  image.hidden = !drawing.ok;
  URL.revokeObjectURL(image.src);
  if (drawing.ok) image.src = URL.createObjectURL(await drawing.blob());
  byId("focal").textContent = "The image was not analyzed.";
  if (!response.ok) return;
  const facts = await response.json();
  const point = facts.focal_point ? `Focal point: ${Math.round(facts.focal_point.x * 100)} % from the left, ${Math.round(facts.focal_point.y * 100)} % from the top. ` : "";
  byId("focal").textContent = `${point}Faces: ${facts.faces?.length ?? "not analyzed"}. Dominant color: ${facts.dominant ?? "none"}.`;
}

// ---------------------------------------------------------------------------------------------- helpers and events

function element(name, attributes = {}, text = "") {
  const made = document.createElement(name);
  setAttributes(made, attributes);
  if (text) made.textContent = text;
  return made;
}

function setAttributes(made, attributes) {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
}

// Text with `words` in backticks as code.
function withCode(text) {
  return text.split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part));
}

// A difference without the names of our types: "Crop.overflow: …" is "crop, overflow: …".
function inWords(text) {
  return text.replace(/^([A-Z][A-Za-z]+)(?:\.([a-z_]+))?:/, (_, type, field) => {
    const words = type.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
    return `${words}${field ? `, ${field.replaceAll("_", " ")}` : ""}:`;
  });
}

function bytes(count) {
  return count < 1024 ? `${count} bytes` : count < 1024 ** 2 ? `${(count / 1024).toFixed(1)} KiB` : `${(count / 1024 ** 2).toFixed(1)} MiB`;
}

byId("site").addEventListener("change", (event) => {
  chooseSite(sites.find((site) => site.name === event.target.value));
  drawChoice();
  showOriginal();
  change();
});
byId("endpoint").addEventListener("change", (event) => {
  state.endpoint = event.target.value;
  const known = controls().map((each) => each.name);
  state.params = new Map([...state.params].filter(([name]) => known.includes(name)));
  if (!state.params.size) state.params = new Map(controls().map((each) => [each.name, each.example]));
  change();
});
byId("path").addEventListener("change", (event) => { state.path = event.target.value.replace(/^\//, ""); state.upload = null; drawChoice(); showOriginal(); change(); });
byId("file").addEventListener("change", (event) => takeUpload(event.target.files[0]));
byId("filter").addEventListener("input", filterControls);
byId("reset").addEventListener("click", () => { state.params = finding(); change(); });
byId("snippet").addEventListener("change", showUrl);
byId("preset").addEventListener("input", showUrl);
byId("copy").addEventListener("click", () => copy(byId("url").value, "URL"));
byId("copy-code").addEventListener("click", () => copy(byId("code").textContent, "Code"));
byId("copy-toml").addEventListener("click", () => copy(byId("toml").textContent, "TOML"));
byId("smart").addEventListener("toggle", () => { if (byId("smart").open) showAnalysis(); });
byId("slider").addEventListener("input", (event) => {
  byId("under").hidden = event.target.value === "0";
  byId("under").style.setProperty("clip-path", `inset(0 ${100 - event.target.value}% 0 0)`);
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => { event.preventDefault(); takeUpload(event.dataTransfer.files[0]); });
addEventListener("hashchange", () => { readFragment(); drawChoice(); showOriginal(); change(); });

if (state.site) {
  chooseSite(state.site);
  readFragment();
  drawChoice();
  selection = makeSelection(byId("selection"), byId("original"), byId("box"), applySelection);
  showOriginal();
  change();
} else {
  byId("messages").replaceChildren(element("p", { class: "problem" }, "No site of this host works without a signature: configure a folder or a site."));
}
document.documentElement.dataset.ready = "true";
