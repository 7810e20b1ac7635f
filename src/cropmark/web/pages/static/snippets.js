// Code that a page takes along: HTML, the image components of frameworks, and a preset of cropmark.

const WIDTHS = [320, 640, 960, 1280, 1920];

export const HEIGHTS = { width: "height", w: "h" }; // by the name of the width
const srcset = ({ origin, urlForWidth }, params) => WIDTHS.map((width) => `${origin}${urlForWidth(width, params)} ${width}w`);
const html = (text) => text.replaceAll("&", "&amp;").replaceAll('"', "&quot;");

function img(given) {
  if (!given.state.site.width) return `<img src="${html(given.absolute)}" alt="">`;
  return `<img src="${html(given.absolute)}"
     srcset="${html(srcset(given).join(",\n             "))}"
     sizes="(min-width: 60rem) 50vw, 100vw" loading="lazy" alt="">`;
}

function picture(given) {
  const format = given.state.site.controls.find((each) => each.name === "format" || each.name === "fm");
  if (!format || !given.state.site.width) return img(given);
  const sources = ["avif", "webp"].map((type) => {
    const params = new Map(given.state.params).set(format.name, type);
    params.delete("auto"); // it would choose another format than this source's type
    const set = srcset(given, params).join(",\n          ");
    return `  <source type="image/${type}" sizes="100vw"\n  srcset="${html(set)}">`;
  });
  return `<picture>\n${sources.join("\n")}\n  <img src="${html(given.absolute)}" alt="">\n</picture>`;
}

// The query after the width, as the text of a template literal. A height follows the width, so that the shape stays.
function rest({ state, url }) {
  const params = new Map(state.params);
  const height = HEIGHTS[state.site.width];
  const [across, down] = [state.site.width, height].map((name) => Number.parseFloat(params.get(name) ?? ""));
  params.delete(state.site.width);
  const hasShape = across > 1 && down > 1;
  if (hasShape) params.delete(height);
  const others = url(params).split("?")[1] ?? "";
  const shape = hasShape ? `${height}=\${Math.round(width * ${+(down / across).toFixed(4)})}` : "";
  return [shape, others].filter(Boolean).join("&");
}

function loader(given, name) {
  const { state, origin } = given;
  const more = rest(given);
  const width = state.site.width ?? "width";
  return `${name}({ src, width }) {\n  return \`${origin}${state.site.prefix}/\${src}?${width}=\${width}${more && `&${more}`}\`;\n}`;
}

const next = (given) => `// image-loader.js, named in next.config.js: images: { loader: "custom", loaderFile: "./image-loader.js" }
export default function ${loader(given, "cropmark")}

// in a component
<Image src="${given.state.path}" width={640} height={360} alt="" />`;

const nuxt = (given) => `// providers/cropmark.ts, named in nuxt.config.ts: image: { providers: { cropmark: { provider: "~/providers/cropmark.ts" } } }
export function getImage(src, { modifiers: { width = 640 } }) {
  return { url: cropmark({ src, width }) };
}
function ${loader(given, "cropmark")}

<!-- in a component -->
<NuxtImg provider="cropmark" src="${given.state.path}" width="640" sizes="100vw md:50vw" alt="" />`;

const astro = (given) => `---
// src/components/Photo.astro
function ${loader(given, "cropmark")}
const { src = "${given.state.path}", alt = "" } = Astro.props;
const widths = [${WIDTHS.join(", ")}];
---
<img src={cropmark({ src, width: 640 })} alt={alt} sizes="100vw"
     srcset={widths.map((width) => \`\${cropmark({ src, width })} \${width}w\`).join(", ")}>`;

export const SNIPPETS = [
  { name: "<img srcset>", code: img },
  { name: "<picture>", code: picture },
  { name: "Next.js", code: next },
  { name: "Nuxt", code: nuxt },
  { name: "Astro", code: astro },
];

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const upload = ({ state, origin }) => `curl --output result ${shell(`${origin}${state.site.prefix}/${state.endpoint}`)} \\
  -F key=YOUR_KEY -F blob=true${[...state.params].map(([name, value]) => ` -F ${shell(`${name}=${value}`)}`).join("")} \\
  -F ${shell(`file=@${state.upload?.name ?? state.path.split("/").at(-1)}`)}`;

const fetched = ({ absolute }) => `curl ${shell(absolute)}
# replies {"status": 200, "link": …, "id": …}; with &blob=true, it replies the image`;

const python = ({ state, origin }) => `import requests

with open(${JSON.stringify(state.upload?.name ?? state.path.split("/").at(-1))}, "rb") as image:
    reply = requests.post(
        ${JSON.stringify(`${origin}${state.site.prefix}/${state.endpoint}`)},
        data=${JSON.stringify({ key: "YOUR_KEY", blob: "true", ...Object.fromEntries(state.params) })},
        files={"file": image},
    )
reply.raise_for_status()
with open("result", "wb") as result:
    result.write(reply.content)`;

export const ENDPOINT_SNIPPETS = [
  { name: "curl, a file", code: upload },
  { name: "curl, a URL", code: fetched },
  { name: "Python", code: python },
];

export function presetToml(site, name, query) {
  const key = /^[A-Za-z0-9_-]+$/.test(name) ? name : JSON.stringify(name);
  return `# in cropmark.toml, below the [[site]] that serves ${site.prefix || "/"}
[site.presets]
${key} = ${JSON.stringify(query)}

# then: ${site.prefix}/PATH?preset=${encodeURIComponent(name)}`;
}
