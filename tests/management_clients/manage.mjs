// Upload, publish, list, replace, unpublish, delete: one line of JSON a step.
// node manage.mjs ENDPOINT API_KEY TOKEN FILE OTHER_FILE
import contentstack from '@contentstack/management'

const [endpoint, api_key, management_token, file, otherFile] = process.argv.slice(2)
const tell = (step, value) => console.log(JSON.stringify({ step, ...value }))

const client = contentstack.client({ endpoint })
const stack = client.stack({ api_key, management_token })
const publishDetails = { locales: ['en-us'], environments: ['production'] }

let asset = await stack.asset().create({ upload: file, title: 'An owl', tags: 'bird,night', description: 'x' })
tell('upload', { uid: asset.uid, url: asset.url, title: asset.title, tags: asset.tags, version: asset._version })

tell('publish', { notice: (await asset.publish({ publishDetails })).notice })

const listed = await stack.asset().query({ include_count: true, query: { title: 'An owl' } }).find()
const found = listed.items.find((one) => one.uid === asset.uid)
tell('list', { count: listed.count, published: found.publish_details.map((one) => one.version) })

// The whole object goes back, with all that is not ours to set.
asset = await stack.asset(asset.uid).fetch()
asset.title = 'The owl'
asset = await asset.update()
tell('update', { title: asset.title, version: asset._version })

asset = await asset.replace({ upload: otherFile })
tell('replace', { url: asset.url, version: asset._version })

tell('unpublish', { notice: (await stack.asset(asset.uid).unpublish({ publishDetails, version: 1 })).notice })
tell('delete', { notice: (await stack.asset(asset.uid).delete()).notice })

try {
  await stack.asset(asset.uid).fetch()
  tell('gone', { status: 200 })
} catch (error) {
  tell('gone', { status: error.status, error_code: error.errorCode, message: error.errorMessage })
}

const folder = await stack.asset().folder().create({ asset: { name: 'Birds' } })
tell('folder', { name: folder.name, is_dir: folder.is_dir })
tell('environments', { names: (await stack.environment().query().find()).items.map((one) => one.name) })

try {
  await client.stack({ api_key, management_token: 'x'.repeat(40) }).asset().query().find()
} catch (error) {
  tell('stranger', { status: error.status, error_code: error.errorCode })
}
