"""The URL dialects of image services: a request becomes an Order, a result or a Problem becomes the vendor's response.

Pure: no I/O, no clock, no pixels. A dialect imports neither geometry nor another dialect. Each has the same modules:

    params      the table of parameters: each one's documentation with its reader
    query       the raw query becomes parameters by name, still text
    readers     the text of one parameter becomes a typed value, or a BadValue
    settings    an operator's settings
    parse       a request becomes an Order; calls all of the others
    steps       typed values become Steps
    output      typed values and Accept become the Output: format, quality, metadata
    responses   headers of images, and Problems in the vendor's status, body and words
    writer      an Order becomes a query: the readers in reverse, for translations
    dialect     the class that the rest of the server sees

Modules that one dialect has in addition:

    fastly/overlays      overlay and montage, with parameters in request headers
    pixlab/endpoints     the endpoints with their methods and body types
    pixlab/image_field   the field `img`: a URL, base64 or a data URI
    pixlab/json_body     JSON bodies, also in pieces

imageopto has the readers, steps and writers that fastly and contentstack share: both services run the same optimizer.
Shared by all: dialect (the interface), registry (the list of dialects), grammar (readers of numbers, lengths, colors,
lists), params, responses, writers, env_values.
"""
