/// OSS signature version 4 (`OSS4-HMAC-SHA256`).
package enum OSSSignatureV4 {
    package static let algorithm = "OSS4-HMAC-SHA256"
    package static let unsignedPayload = "UNSIGNED-PAYLOAD"
    private static let terminator = "aliyun_v4_request"

    /// The `Authorization` of a request that carries `x-oss-date`, `x-oss-content-sha256` and, with a
    /// temporary key, `x-oss-security-token`.
    ///
    /// - Parameter date: the value of `x-oss-date`
    package static func authorization(
        _ request: SignableRequest,
        credentials: Credentials,
        region: String,
        date: String,
        additionalHeaders: [String] = []
    ) -> String {
        let scope = SignatureScope(day: String(date.prefix(8)), region: region, service: "oss")
        let additional = self.additional(additionalHeaders, in: request)
        let signature = signature(
            request,
            secret: credentials.secretAccessKey,
            scope: scope,
            date: date,
            additionalHeaders: additional
        )
        let names = additional.isEmpty ? "" : ",AdditionalHeaders=\(additional.joined(separator: ";"))"
        return
            "\(algorithm) Credential=\(credentials.accessKeyID)/\(text(scope))\(names),Signature=\(signature)"
    }

    /// The signature, in hex; also that of a presigned request, whose `x-oss-signature` is left out of the
    /// query.
    package static func signature(
        _ request: SignableRequest,
        secret: String,
        scope: SignatureScope,
        date: String,
        additionalHeaders: [String] = []
    ) -> String {
        let canonical = canonicalRequest(request, additionalHeaders: additionalHeaders)
        let text = "\(algorithm)\n\(date)\n\(text(scope))\n\(Digest.sha256Hex(Array(canonical.utf8)))"
        return scope.signature(
            prefix: "aliyun_v4",
            terminator: terminator,
            secret: secret,
            stringToSign: text
        )
    }

    package static func canonicalRequest(_ request: SignableRequest, additionalHeaders: [String] = [])
        -> String
    {
        let additional = additional(additionalHeaders, in: request)
        let signed = Set(request.headers.map(\.name).filter(isMandatory) + additional).sorted()
        var lines = [
            request.method,
            PercentEncoding.encode(request.resource, keepingSlash: true),
            request.canonicalQuery(excluding: "x-oss-signature", bareEmpty: true),
        ]
        lines.append(signed.map { "\($0):\(request.header($0) ?? "")\n" }.joined())
        lines.append(additional.joined(separator: ";"))
        lines.append(request.header("x-oss-content-sha256") ?? unsignedPayload)
        return lines.joined(separator: "\n")
    }

    package static func claim(authorization: String) -> SignatureClaim? {
        guard let parameters = SignatureClaim.parameters(of: authorization, algorithm: algorithm) else {
            return nil
        }
        return SignatureClaim(
            credential: parameters["Credential"] ?? "",
            terminator: terminator,
            headers: parameters["AdditionalHeaders"],
            signature: parameters["Signature"],
            presigned: nil
        )
    }

    package static func claim(query: [QueryItem]) -> SignatureClaim? {
        guard query["x-oss-signature-version"]?.text == algorithm, let credential = query["x-oss-credential"],
            let date = query["x-oss-date"], let life = query["x-oss-expires"].flatMap({ Int($0.text) })
        else { return nil }
        return SignatureClaim(
            credential: credential.text,
            terminator: terminator,
            headers: query["x-oss-additional-headers"]?.text,
            signature: query["x-oss-signature"]?.text,
            presigned: SignatureClaim.Presigned(date: date.text, lifeSeconds: life)
        )
    }

    private static func text(_ scope: SignatureScope) -> String {
        "\(scope.day)/\(scope.region)/\(scope.service)/\(terminator)"
    }

    private static func isMandatory(_ name: String) -> Bool {
        name == "content-type" || name == "content-md5" || name.hasPrefix("x-oss-")
    }

    /// Of the headers that the signer names, those that count: in the request and not signed anyway; sorted.
    private static func additional(_ names: [String], in request: SignableRequest) -> [String] {
        let present = Set(request.headers.map(\.name))
        return Set(names.map { $0.lowercased() }).filter { present.contains($0) && !isMandatory($0) }.sorted()
    }
}
