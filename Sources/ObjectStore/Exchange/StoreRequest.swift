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
    var body: [UInt8] = []
    var timeout: Duration? = .seconds(60)
}

extension StoreConfiguration {
    /// The host that is asked, bucket included where it goes into the name, and what `Host` says.
    var authority: String {
        addressing == .virtualHost ? "\(bucket).\(endpoint.authority)" : endpoint.authority
    }

    /// The path on the wire. `/` stays; every other byte but the unreserved is encoded; nothing is
    /// normalised, for `a//b` and `..` are keys like any other.
    func wirePath(_ key: ObjectKey) -> String {
        let encoded = PercentEncoding.encode(key.bytes, keepingSlash: true)
        guard addressing == .path else { return "/\(encoded)" }
        // For the bucket itself OSS's resource ends with a slash; S3's clients send none.
        return key.isEmpty && dialect == .s3 ? "/\(bucket)" : "/\(bucket)/\(encoded)"
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
            bucket: configuration.bucket,
            key: request.key.bytes,
            wirePath: path,
            query: request.query,
            headers: request.headers
        )
        if let token = credentials.sessionToken {
            signable.headers.append((headerPrefix + "security-token", token))
        }
        if !request.body.isEmpty {
            signable.headers.append(("content-type", "application/xml"))
            signable.headers.append(("content-md5", Digest.md5Base64(request.body)))
        }
        sign(&signable, body: request.body, configuration, credentials: credentials, date: date)
        let query = request.query.isEmpty ? "" : "?\(request.query.wire)"
        return HTTPRequest(
            method: request.method,
            url: "\(configuration.endpoint.scheme)://\(configuration.authority)\(path)\(query)",
            headers: signable.headers,
            body: request.body,
            timeout: request.timeout
        )
    }
}
