# Varnish in front of cropmark: varnishd -f /etc/varnish/cropmark.vcl -a :80 -s malloc,4g
# tests/deploy/test_varnish.py starts this file. Read docs/proxies.md first.
vcl 4.1;

import std;

backend default {
    .host = "127.0.0.1";
    .port = "8000";
    .first_byte_timeout = 30s;
    .probe = {
        .url = "/readyz";
        .interval = 2s;
        .timeout = 1s;
        .window = 4;
        .threshold = 2;
    }
}

acl operators {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    # PURGE removes every variant of one URL; BAN with "X-Ban-Url: ^/shop/" removes all URLs that match.
    if (req.method == "PURGE" || req.method == "BAN") {
        if (client.ip !~ operators) {
            return (synth(403, "Forbidden"));
        }
        if (req.method == "PURGE") {
            return (purge);
        }
        if (!req.http.X-Ban-Url) {
            return (synth(400, "X-Ban-Url is missing"));
        }
        ban("obj.http.X-Cached-Host == " + req.http.Host + " && obj.http.X-Cached-Url ~ " + req.http.X-Ban-Url);
        return (synth(200, "Banned"));
    }
    # The operator's paths are not for the public.
    if (req.url ~ "^/(admin/|(metrics|readyz)([?]|$)|_)") {
        return (synth(404, "Not Found"));
    }
    if (req.method != "GET" && req.method != "HEAD") {
        return (pass);
    }
    # The formats that a client accepts, in one spelling each: without this, every browser version would have its own entries.
    if (req.http.Accept ~ "image/avif") {
        set req.http.Accept = "image/avif,image/webp,*/*";
    } elsif (req.http.Accept ~ "image/webp") {
        set req.http.Accept = "image/webp,*/*";
    } else {
        set req.http.Accept = "*/*";
    }
    unset req.http.Cookie;
    unset req.http.X-Fastly-Imageopto-Overlay;
    unset req.http.X-Fastly-Imageopto-Montage;
    set req.http.X-Forwarded-For = client.ip;
    return (hash);
}

sub vcl_backend_response {
    set beresp.http.X-Cached-Url = bereq.url;
    set beresp.http.X-Cached-Host = bereq.http.Host;
    set beresp.grace = 1h;  # an expired image is sent once more while it is fetched again
    set beresp.keep = 1d;   # and for a day its ETag is used to fetch it
    if (beresp.status >= 500) {
        set beresp.uncacheable = true;
        set beresp.ttl = 0s;
        if (bereq.is_bgfetch) {
            return (abandon);
        }
    }
}

sub vcl_deliver {
    unset resp.http.X-Cached-Url;
    unset resp.http.X-Cached-Host;
    unset resp.http.Via;
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
}
