import HTTP
import ThawCore
import Wire

/// One request in terms of the bucket, before it is addressed and signed.
struct StoreRequest: Sendable {
    var method: HTTPRequest.Method
    /// Empty for the bucket itself.
    var key = ObjectKey.empty
    var query: [QueryItem] = []
    /// Names in lowercase.
    var headers: [(name: String, value: String)] = []
    var body = RequestBody.none
    var timeout: Duration? = .seconds(60)
    /// As `HTTPRequest.stallMax`.
    var stallMax = Duration.seconds(20)
}

enum RequestBody: Sendable {
    case none
    /// XML or JSON, whose digests are sent along and signed.
    case document([UInt8], contentType: String = "application/xml")
    /// An object's bytes, or a part's. Their checksum is a header; a signature does not cover them.
    case object(Payload)
}

extension StoreConfiguration {
    /// The host that is asked, bucket included where it goes into the name, and what `Host` says.
    var authority: String {
        addressing == .virtualHost && !bucket.isEmpty ? "\(bucket).\(endpoint.authority)" : endpoint.authority
    }

    /// The path on the wire. `/` stays; every other byte but the unreserved is encoded; nothing is
    /// normalised, for `a//b` and `..` are keys like any other.
    func wirePath(_ key: ObjectKey) -> String {
        let encoded = PercentEncoding.encode(key.bytes, keepingSlash: true)
        guard addressing == .path, !bucket.isEmpty else { return "/\(encoded)" }
        // For the bucket itself OSS's resource ends with a slash; S3's clients send none.
        return key.isEmpty && dialect.speaksS3 ? "/\(bucket)" : "/\(bucket)/\(encoded)"
    }
}

extension BucketDialect {
    /// Addresses and signs.
    func httpRequest(
        _ request: StoreRequest,
        _ configuration: StoreConfiguration,
        credentials: Credentials,
        date: Timestamp
    ) -> HTTPRequest {
        let path = configuration.wirePath(request.key)
        var signable = SignableRequest(
            method: request.method.rawValue,
            bucket: configuration.bucket.isEmpty ? nil : configuration.bucket,
            key: request.key.bytes,
            wirePath: path,
            query: request.query,
            headers: request.headers
        )
        if let token = credentials.sessionToken {
            signable.headers.append((headerPrefix + "security-token", token))
        }
        let body: Payload
        switch request.body {
        case .none:
            body = .bytes([])
            sign(&signable, document: [], configuration, credentials: credentials, date: date)
        case .document(let document, let contentType):
            body = .bytes(document)
            signable.headers.append(("content-type", contentType))
            signable.headers.append(("content-md5", Digest.md5Base64(document)))
            sign(&signable, document: document, configuration, credentials: credentials, date: date)
        case .object(let payload):
            body = payload
            sign(&signable, document: nil, configuration, credentials: credentials, date: date)
        }
        let query = request.query.isEmpty ? "" : "?\(request.query.wire)"
        return HTTPRequest(
            method: request.method,
            url: "\(configuration.endpoint.scheme)://\(configuration.authority)\(path)\(query)",
            headers: signable.headers,
            body: body,
            timeout: request.timeout,
            stallMax: request.stallMax
        )
    }
}
