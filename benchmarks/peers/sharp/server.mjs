// A minimal HTTP server for images by sharp, at sharp's defaults: GET /WIDTH/FORMAT/QUALITY/NAME, with quality 0 for
// sharp's own. It checks nothing, caches nothing and logs nothing. The third argument changes a default:
// "careful": a JPEG is decoded at twice the size of the result or more.
// "equal": AVIF has cropmark's effort and chroma, PNG has filters that make files of about cropmark's size.
import { createServer } from "node:http";
import { basename, join } from "node:path";
import sharp from "sharp";

const [folder, port, how] = process.argv.slice(2);
const decoding = { fastShrinkOnLoad: how !== "careful" };
const effort = how === "equal" ? { avif: { effort: 1, chromaSubsampling: "4:2:0" }, png: { adaptiveFiltering: true } } : {};

createServer(async (request, response) => {
  try {
    const [, width, format, quality, name] = request.url.split("/");
    const options = { ...effort[format], ...(quality === "0" ? {} : { quality: Number(quality) }) };
    const source = sharp(join(folder, basename(name)), { animated: name.endsWith(".gif") });
    const body = await source.resize(Number(width), null, decoding).toFormat(format, options).toBuffer();
    response.writeHead(200, { "content-type": `image/${format}`, "content-length": body.length });
    response.end(body);
  } catch (error) {
    response.writeHead(500, { "content-type": "text/plain" });
    response.end(String(error));
  }
}).listen(Number(port), "127.0.0.1");
