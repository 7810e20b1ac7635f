"""The URL dialects of image services. A dialect is one vendor's syntax for URLs, and the form of its responses.

A dialect turns a request into an Order, which is the parsed request. It turns a result or a Problem into the vendor's
response. Dialects are pure: no I/O, no clock, no pixels. A dialect imports neither geometry nor another dialect.

Modules that every dialect has:

    params      the table of parameters: documentation and reader of each
    query       splits the raw query into parameters by name, still as text
    readers     turn the text of a parameter into a typed value, or raise BadValue
    settings    an operator's settings
    parse       turns a request into an Order; calls all of the others
    steps       turns typed values into Steps
    output      turns typed values and the Accept header into the Output: format, quality, metadata
    responses   headers of images, and Problems in the vendor's status, body and words
    writer      turns an Order into a query, the reverse of the readers; translations use it
    dialect     the class that the rest of the server uses

Modules that only one dialect has:

    fastly/overlays      overlay and montage, with parameters in request headers
    pixlab/endpoints     the endpoints with their methods and body types
    pixlab/image_field   the field `img`: a URL, base64 or a data URI
    pixlab/json_body     JSON bodies, also in pieces

imageopto has the readers, steps and writers that fastly and contentstack share: both services run the same optimizer.
Modules that all dialects share: dialect (the interface), registry (the list of dialects), grammar (readers of numbers,
lengths, colors, lists), params, responses, writers, env_values, suggestions, hints.
"""
