/// The signature of Alibaba Archive Storage: HMAC-SHA1 over the date, the vendor's headers and the resource. Unlike OSS
/// V1 it leaves out Content-MD5 and Content-Type.
///
/// Source: the vendor's Python SDK for OAS 0.2.5 and the API manual, "Authorization".
package enum OASSignature {
    /// Query parameters that are part of the resource; no other one is.
    private static let signedParameters: Set<String> = ["limit", "marker"]

    /// The signature, in base64, of a request that carries its `date`.
    package static func signature(_ request: SignableRequest, secret: String) -> String {
        Base64.encode(Digest.hmacSHA1(key: Array(secret.utf8), Array(stringToSign(request).utf8)))
    }

    /// The `Authorization` of a request that carries its `date`.
    package static func authorization(_ request: SignableRequest, credentials: Credentials) -> String {
        "OAS \(credentials.accessKeyID):\(signature(request, secret: credentials.secretAccessKey))"
    }

    package static func stringToSign(_ request: SignableRequest) -> String {
        var text = "\(request.method)\n\(request.header("date") ?? "")\n"
        for name in Set(request.headers.map(\.name)).filter({ $0.hasPrefix("x-oas-") }).sorted() {
            text += "\(name):\(request.header(name) ?? "")\n"
        }
        let parameters = request.query.filter { signedParameters.contains($0.name) }.sorted { $0.name < $1.name }
        text += request.wirePath
        for (index, item) in parameters.enumerated() { text += (index == 0 ? "?" : "&") + "\(item.name)=\(item.text)" }
        return text
    }

    /// Who signed a request, by its `Authorization` (`OAS key:signature`).
    package static func claim(authorization: String) -> (accessKeyID: String, signature: String)? {
        guard authorization.hasPrefix("OAS ") else { return nil }
        let pair = authorization.dropFirst(4).split(separator: ":", maxSplits: 1)
        return pair.count == 2 ? (trimmed(pair[0]), trimmed(pair[1])) : nil
    }
}
