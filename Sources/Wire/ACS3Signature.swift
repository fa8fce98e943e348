/// Signature `ACS3-HMAC-SHA256` of Alibaba Cloud's RPC products: the secret itself is the key, and there is no scope.
package enum ACS3Signature {
    package static let algorithm = "ACS3-HMAC-SHA256"

    /// The `Authorization` of a request that carries `host`, the body's `x-acs-content-sha256` and, with a temporary
    /// key, `x-acs-security-token`. Every header of the request is signed: give only those that reach the service
    /// unchanged.
    package static func authorization(_ request: SignableRequest, credentials: Credentials) -> String {
        let signed = Set(request.headers.map(\.name)).sorted()
        let signature = signature(request, secret: credentials.secretAccessKey, signedHeaders: signed)
        return "\(algorithm) Credential=\(credentials.accessKeyID),SignedHeaders=\(signed.joined(separator: ";")),"
            + "Signature=\(signature)"
    }

    /// The signature, in hex.
    package static func signature(
        _ request: SignableRequest, secret: String, signedHeaders: [String]
    ) -> String {
        let text = stringToSign(request, signedHeaders: signedHeaders)
        return Hex.encode(Digest.hmacSHA256(key: Array(secret.utf8), Array(text.utf8)))
    }

    package static func stringToSign(_ request: SignableRequest, signedHeaders: [String]) -> String {
        let canonical = canonicalRequest(request, signedHeaders: signedHeaders)
        return "\(algorithm)\n\(Digest.sha256Hex(Array(canonical.utf8)))"
    }

    package static func canonicalRequest(_ request: SignableRequest, signedHeaders: [String]) -> String {
        let signed = signedHeaders.map { $0.lowercased() }.sorted()
        return [
            request.method,
            request.wirePath,
            request.canonicalQuery(excluding: "", bareEmpty: false),
            signed.map { "\($0):\(request.header($0) ?? "")\n" }.joined(),
            signed.joined(separator: ";"),
            request.header("x-acs-content-sha256") ?? "",
        ].joined(separator: "\n")
    }

    /// A signature that came with a request.
    package struct Claim: Hashable, Sendable {
        package var accessKeyID: String
        /// Lowercase.
        package var signedHeaders: [String]
        package var signature: String
    }

    /// Nil when the header is of another algorithm, or not whole.
    package static func claim(authorization: String) -> Claim? {
        guard let parameters = SignatureClaim.parameters(of: authorization, algorithm: algorithm),
            let key = parameters["Credential"], let headers = parameters["SignedHeaders"],
            let signature = parameters["Signature"]
        else { return nil }
        return Claim(
            accessKeyID: key, signedHeaders: headers.split(separator: ";").map { $0.lowercased() },
            signature: signature)
    }
}
