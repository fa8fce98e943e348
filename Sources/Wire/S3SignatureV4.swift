/// S3 signature version 4 (`AWS4-HMAC-SHA256`). The path is signed as it is on the wire, encoded once and
/// never normalised, unlike AWS's other services.
package enum S3SignatureV4 {
    package static let algorithm = "AWS4-HMAC-SHA256"
    package static let unsignedPayload = "UNSIGNED-PAYLOAD"
    private static let terminator = "aws4_request"

    /// The `Authorization` of a request that carries `host`, `x-amz-date`, `x-amz-content-sha256` and, with a
    /// temporary key, `x-amz-security-token`. Every header of the request is signed: give only those that
    /// reach the server unchanged.
    ///
    /// - Parameter date: the value of `x-amz-date`
    package static func authorization(
        _ request: SignableRequest,
        credentials: Credentials,
        region: String,
        date: String
    ) -> String {
        let scope = SignatureScope(day: String(date.prefix(8)), region: region, service: "s3")
        let signed = Set(request.headers.map(\.name)).sorted()
        let signature = signature(
            request,
            secret: credentials.secretAccessKey,
            scope: scope,
            date: date,
            signedHeaders: signed
        )
        return "\(algorithm) Credential=\(credentials.accessKeyID)/\(text(scope)), "
            + "SignedHeaders=\(signed.joined(separator: ";")), Signature=\(signature)"
    }

    /// The signature, in hex; also that of a presigned request, whose `X-Amz-Signature` is left out of the
    /// query.
    package static func signature(
        _ request: SignableRequest,
        secret: String,
        scope: SignatureScope,
        date: String,
        signedHeaders: [String]
    ) -> String {
        let canonical = canonicalRequest(request, signedHeaders: signedHeaders)
        let text = "\(algorithm)\n\(date)\n\(text(scope))\n\(Digest.sha256Hex(Array(canonical.utf8)))"
        return scope.signature(prefix: "AWS4", terminator: terminator, secret: secret, stringToSign: text)
    }

    package static func canonicalRequest(_ request: SignableRequest, signedHeaders: [String]) -> String {
        let signed = signedHeaders.map { $0.lowercased() }.sorted()
        var lines = [
            request.method,
            request.wirePath,
            request.canonicalQuery(excluding: "X-Amz-Signature", bareEmpty: false),
        ]
        lines.append(signed.map { "\($0):\(collapsed(request.header($0) ?? ""))\n" }.joined())
        lines.append(signed.joined(separator: ";"))
        lines.append(request.header("x-amz-content-sha256") ?? unsignedPayload)
        return lines.joined(separator: "\n")
    }

    package static func claim(authorization: String) -> SignatureClaim? {
        guard let parameters = SignatureClaim.parameters(of: authorization, algorithm: algorithm) else {
            return nil
        }
        return SignatureClaim(
            credential: parameters["Credential"] ?? "",
            terminator: terminator,
            headers: parameters["SignedHeaders"],
            signature: parameters["Signature"],
            presigned: nil
        )
    }

    package static func claim(query: [QueryItem]) -> SignatureClaim? {
        guard query["X-Amz-Algorithm"]?.text == algorithm, let credential = query["X-Amz-Credential"],
            let date = query["X-Amz-Date"], let life = query["X-Amz-Expires"].flatMap({ Int($0.text) })
        else { return nil }
        return SignatureClaim(
            credential: credential.text,
            terminator: terminator,
            headers: query["X-Amz-SignedHeaders"]?.text,
            signature: query["X-Amz-Signature"]?.text,
            presigned: SignatureClaim.Presigned(date: date.text, lifeSeconds: life)
        )
    }

    private static func text(_ scope: SignatureScope) -> String {
        "\(scope.day)/\(scope.region)/\(scope.service)/\(terminator)"
    }

    /// Runs of blanks inside a value count as one.
    private static func collapsed(_ value: String) -> String {
        value.split(separator: " ").joined(separator: " ")
    }
}
