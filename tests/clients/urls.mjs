// The URLs that the vendors' own JavaScript libraries build for a server, as one JSON object of name → URL.
// Usage: node urls.mjs http://127.0.0.1:8000

import fastlyProvider from '@nuxt/image/runtime/providers/fastly'
import { transformImageUrl } from '@kontent-ai/delivery-sdk'
import { transformUrl } from 'unpic'
// Not exported by the package itself: users import it from the file too.
import { ImageTransform } from './node_modules/@contentstack/delivery-sdk/dist/modern/lib/image-transform.js'

const server = process.argv[2]
const contentstack = `${server}/contentstack/wide.jpg`
const kontent = `${server}/kontent/wide.jpg`

const unpic = (url, provider, operations) => transformUrl({ url, provider, fallback: provider, ...operations })
const nuxt = (modifiers) => fastlyProvider().getImage('/wide.jpg', { modifiers, baseURL: `${server}/fastly` }, {}).url
const transform = (change, url = contentstack) => url.transform(change)

const urls = {
  'unpic contentstack cover': unpic(contentstack, 'contentstack', { width: 120, height: 90 }),
  'unpic contentstack width': unpic(`${contentstack}?environment=production`, 'contentstack', { width: 100 }),
  'unpic contentstack avif': unpic(contentstack, 'contentstack', { width: 100, format: 'avif', quality: 70 }),
  'unpic kontent cover': unpic(kontent, 'kontent.ai', { width: 120, height: 90 }),
  'unpic kontent jpg': unpic(kontent, 'kontent.ai', { width: 100, format: 'jpg', quality: 60 }),
  'unpic kontent webp': unpic(kontent, 'kontent.ai', { width: 100, format: 'webp' }),

  'contentstack auto': transform(new ImageTransform().auto()),
  'contentstack resize': transform(new ImageTransform().resize({ width: 200, height: 50, disable: 'upscale' })),
  'contentstack quality': transform(new ImageTransform().quality(50).format('pjpg')),
  'contentstack crop': transform(new ImageTransform().crop({ width: 150, height: 100 })),
  'contentstack crop ratio': transform(new ImageTransform().crop({ width: 1, height: 3, cropBy: 'aspectRatio' })),
  'contentstack crop region': transform(
    new ImageTransform().crop({ width: 150, height: 100, cropBy: 'region', xval: 50, yval: 75, safe: true }),
  ),
  'contentstack crop offset': transform(
    new ImageTransform().crop({ width: 150, height: 100, cropBy: 'offset', xval: 10.5, yval: 10.5 }),
  ),
  'contentstack trim': transform(new ImageTransform().trim([25, 50, 75, 100])),
  'contentstack orient': transform(new ImageTransform().orient(6)),
  'contentstack overlay': transform(
    new ImageTransform().overlay({ relativeURL: '/tall.png', align: ['left', 'bottom'], width: '50p' }),
  ),
  'contentstack pad': transform(new ImageTransform().padding([25, 50, 75, 100]).bgColor([140, 220, 123, 0.5])),
  'contentstack dpr': transform(new ImageTransform().resize({ width: 100 }).dpr(2)),
  'contentstack tones': transform(
    new ImageTransform().saturation(-30).contrast(50).brightness(20).sharpen(5, 1000, 2).blur(10).frame(),
  ),
  'contentstack canvas': transform(new ImageTransform().canvas({ width: 700, height: 800 })),
  'contentstack canvas ratio': transform(
    new ImageTransform().canvas({ width: 1, height: 1, canvasBy: 'aspectRatio' }),
  ),
  'contentstack second question mark': transform(
    new ImageTransform().resize({ width: 200 }).auto(), `${contentstack}?environment=production`,
  ),

  'kontent clip': transformImageUrl(kontent).withWidth(100).withHeight(100).withFitMode('clip').getUrl(),
  'kontent scale': transformImageUrl(kontent).withWidth(500).withHeight(50).withFitMode('scale').getUrl(),
  'kontent crop': transformImageUrl(kontent).withWidth(80).withHeight(80).withFitMode('crop').getUrl(),
  'kontent dpr': transformImageUrl(kontent).withWidth(50).withDpr(2).getUrl(),
  'kontent rect': transformImageUrl(kontent).withRectangleCrop(10, 20, 100, 60).getUrl(),
  'kontent focal point': transformImageUrl(kontent)
    .withWidth(60).withHeight(60).withFitMode('crop').withFocalPointCrop(0.2, 0.5, 2).getUrl(),
  'kontent png': transformImageUrl(kontent).withFormat('png').withWidth(50).getUrl(),
  'kontent automatic': transformImageUrl(kontent).withAutomaticFormat('jpg').withQuality(60).withWidth(50).getUrl(),
  'kontent lossless': transformImageUrl(kontent)
    .withFormat('webp').withCompression('lossless').withWidth(50).getUrl(),

  'nuxt fastly': nuxt({ width: 100, height: 80, fit: 'fill', quality: 80, format: 'webp' }),
  'nuxt fastly bounds': nuxt({ width: 100, height: 80, fit: 'contain' }),
}

console.log(JSON.stringify(urls))
