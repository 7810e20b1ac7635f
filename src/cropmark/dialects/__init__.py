"""The URL dialects of image services: a request becomes an Order, a result or a Problem becomes the vendor's response.

Pure: no I/O, no clock, no pixels. A dialect imports neither geometry nor another dialect. Modules that every dialect
has:

    params      the table of parameters: each one's documentation with its reader
    query       the raw query becomes parameters by name, still text
    readers     the text of one parameter becomes a typed value, or a BadValue
    settings    an operator's settings
    parse       a request becomes an Order; calls all of the others
    steps       typed values become Steps
    output      typed values and the Accept header become the Output: format, quality, metadata
    responses   headers of images, and Problems in the vendor's status, body and words
    writer      an Order becomes a query, the reverse of the readers; translations use it
    dialect     the class that the rest of the server sees

Modules that only one dialect has:

    fastly/overlays      overlay and montage, with parameters in request headers
    pixlab/endpoints     the endpoints with their methods and body types
    pixlab/image_field   the field `img`: a URL, base64 or a data URI
    pixlab/json_body     JSON bodies, also in pieces

imageopto has the readers, steps and writers that fastly and contentstack share: both services run the same optimizer.
Modules that all dialects share: dialect (the interface), registry (the list of dialects), grammar (readers of numbers,
lengths, colors, lists), params, responses, writers, env_values, suggestions, hints.
"""
