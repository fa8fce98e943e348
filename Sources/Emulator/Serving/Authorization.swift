import ThawCore
import Wire

/// Who may ask, and whether they did: verifies every signature there is in the dialects, and IBM's tokens.
struct Authorization: Sendable {
    /// Secrets by access key.
    var secrets: [String: String]
    /// The one token that temporary credentials may carry.
    var sessionToken: String?
    /// The one region that signatures may name; nil for any.
    var region: String?
    /// Takes everything as it comes, unsigned too.
    var isLenient: Bool
    /// What IBM's IAM has given out.
    let tokens: IdentityTokens

    static let skewMax = Duration.seconds(900)

    /// - Parameters:
    ///   - now: the server's idea of the real time
    ///   - tokenExpired: fails as if the credentials were of yesterday
    func check(_ request: StoreRequest, now: Timestamp, tokenExpired: Bool) throws(ProviderError) {
        if tokenExpired { throw Self.expiredToken(request.dialect) }
        if isLenient { return }
        if let authorization = request.header("authorization") {
            try checkHeader(authorization, request, now)
        } else if request.query["OSSAccessKeyId"] != nil {
            try checkPresignedV1(request, now)
        } else if let claim = OSSSignatureV4.claim(query: request.query)
            ?? S3SignatureV4.claim(query: request.query)
        {
            try checkPresignedV4(claim, request, now)
        } else {
            throw .accessDenied
        }
        try checkToken(request)
    }

    /// What the chunks of a body are signed with, of a request that has passed; nil when it names no such key.
    func chunkSignatures(_ request: StoreRequest) -> ChunkSignatures? {
        guard !isLenient, let authorization = request.header("authorization"),
            let claim = S3SignatureV4.claim(authorization: authorization),
            let secret = secrets[claim.accessKeyID]
        else { return nil }
        return ChunkSignatures(claim, date: request.header("x-amz-date") ?? "", secret: secret)
    }

    private func checkHeader(
        _ authorization: String,
        _ request: StoreRequest,
        _ now: Timestamp
    ) throws(ProviderError) {
        if authorization.hasPrefix("Bearer ") {
            guard tokens.accept(authorization.dropFirst(7), now: now) else { throw .accessDenied }
        } else if let claim = OASSignature.claim(authorization: authorization) {
            let date = request.header("date") ?? ""
            try checkSkew(date, WireDate.parseRFC1123(date), now, .oas)
            try compare(claim.accessKeyID, claim.signature, request) { secret in
                (
                    OASSignature.signature(request.signable, secret: secret),
                    Array(OASSignature.stringToSign(request.signable).utf8), nil
                )
            }
        } else if let claim = OSSSignatureV1.claim(authorization: authorization) {
            let date = request.header("x-oss-date") ?? request.header("date") ?? ""
            try checkSkew(date, WireDate.parseRFC1123(date), now, .oss)
            try compare(claim.accessKeyID, claim.signature, request) { secret in
                (
                    OSSSignatureV1.signature(request.signable, secret: secret),
                    OSSSignatureV1.stringToSign(request.signable), nil
                )
            }
        } else if let claim = OSSSignatureV4.claim(authorization: authorization) {
            let date = request.header("x-oss-date") ?? ""
            try checkSkew(date, WireDate.parseBasic(date), now, .oss)
            try checkScope(claim, date: date, .oss)
            try compareV4(claim, date: date, request)
        } else if let claim = S3SignatureV4.claim(authorization: authorization) {
            let date = request.header("x-amz-date") ?? ""
            try checkSkew(date, WireDate.parseBasic(date), now, .s3)
            try checkScope(claim, date: date, request.dialect)
            // IBM documents a signature of `host` and `x-amz-date` alone.
            if request.dialect == .cos { return try compareV4(claim, date: date, request) }
            guard request.header("x-amz-content-sha256") != nil else {
                throw ProviderError(
                    400,
                    "InvalidRequest",
                    "Missing required header for this request: x-amz-content-sha256"
                )
            }
            try checkSignedHeaders(claim, request)
            try compareV4(claim, date: date, request)
        } else if request.dialect == .oss {
            throw .invalidArgument("Authorization header is invalid.", ec: "0002-00000001")
        } else {
            throw ProviderError(
                400,
                "AuthorizationHeaderMalformed",
                "The authorization header that you provided is not valid."
            )
        }
    }

    private func checkPresignedV1(_ request: StoreRequest, _ now: Timestamp) throws(ProviderError) {
        guard let claim = OSSSignatureV1.claim(query: request.query), let expires = Int64(claim.expires)
        else {
            throw .invalidArgument("OSSAccessKeyId, Expires and Signature are required.")
        }
        guard now.seconds <= expires else { throw Self.expiredRequest }
        try compare(claim.accessKeyID, claim.signature, request) { secret in
            (
                OSSSignatureV1.signature(request.signable, secret: secret, expires: claim.expires),
                OSSSignatureV1.stringToSign(request.signable, expires: claim.expires), nil
            )
        }
    }

    private func checkPresignedV4(
        _ claim: SignatureClaim,
        _ request: StoreRequest,
        _ now: Timestamp
    ) throws(ProviderError) {
        guard let presigned = claim.presigned, let date = WireDate.parseBasic(presigned.date),
            (1...604_800).contains(presigned.lifeSeconds)
        else {
            throw ProviderError(
                400,
                "AuthorizationQueryParametersError",
                "The date or the expiry is invalid."
            )
        }
        guard now <= date + .seconds(presigned.lifeSeconds) else { throw Self.expiredRequest }
        guard date <= now + Self.skewMax else {
            throw ProviderError(403, "AccessDenied", "Request is not valid yet")
        }
        try checkScope(claim, date: presigned.date, request.dialect)
        if request.dialect == .s3 { try checkSignedHeaders(claim, request) }
        try compareV4(claim, date: presigned.date, request)
    }

    // MARK: - Parts of it

    private func compareV4(_ claim: SignatureClaim, date: String, _ request: StoreRequest)
        throws(ProviderError)
    {
        let signable = request.signable
        try compare(claim.accessKeyID, claim.signature, request) { secret in
            let signature: String
            let canonical: String
            let algorithm: String
            let terminator: String
            if request.dialect == .oss {
                signature = OSSSignatureV4.signature(
                    signable,
                    secret: secret,
                    scope: claim.scope,
                    date: date,
                    additionalHeaders: claim.signedHeaders
                )
                canonical = OSSSignatureV4.canonicalRequest(signable, additionalHeaders: claim.signedHeaders)
                (algorithm, terminator) = (OSSSignatureV4.algorithm, "aliyun_v4_request")
            } else {
                signature = S3SignatureV4.signature(
                    signable,
                    secret: secret,
                    scope: claim.scope,
                    date: date,
                    signedHeaders: claim.signedHeaders
                )
                canonical = S3SignatureV4.canonicalRequest(signable, signedHeaders: claim.signedHeaders)
                (algorithm, terminator) = (S3SignatureV4.algorithm, "aws4_request")
            }
            let scope = "\(claim.scope.day)/\(claim.scope.region)/\(claim.scope.service)/\(terminator)"
            let text = "\(algorithm)\n\(date)\n\(scope)\n\(Digest.sha256Hex(Array(canonical.utf8)))"
            return (signature, Array(text.utf8), canonical)
        }
    }

    private func compare(
        _ accessKeyID: String,
        _ provided: String,
        _ request: StoreRequest,
        _ sign: (_ secret: String) -> (signature: String, stringToSign: [UInt8], canonicalRequest: String?)
    ) throws(ProviderError) {
        let keyElement: StaticString = request.dialect == .oss ? "OSSAccessKeyId" : "AWSAccessKeyId"
        guard let secret = secrets[accessKeyID] else {
            let message =
                request.dialect == .oss
                ? "The OSS Access Key Id you provided does not exist in our records."
                : "The AWS Access Key Id you provided does not exist in our records."
            throw ProviderError(
                403,
                "InvalidAccessKeyId",
                message,
                ec: "0002-00000902",
                details: [(keyElement, accessKeyID)]
            )
        }
        let own = sign(secret)
        guard !Digest.matches(own.signature, provided) else { return }
        var details: [(name: StaticString, value: String)] = [
            (keyElement, accessKeyID), ("SignatureProvided", provided),
            ("StringToSign", String(decoding: own.stringToSign, as: UTF8.self)),
            ("StringToSignBytes", own.stringToSign.map { Hex.encode([$0]) }.joined(separator: " ")),
        ]
        if let canonical = own.canonicalRequest { details.append(("CanonicalRequest", canonical)) }
        throw ProviderError(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
                + "Check your key and signing method.",
            ec: "0002-00000040",
            details: details
        )
    }

    private func checkSkew(
        _ text: String,
        _ date: Timestamp?,
        _ now: Timestamp,
        _ dialect: Dialect
    ) throws(ProviderError) {
        guard let date else {
            throw ProviderError(
                403,
                "AccessDenied",
                "Authentication requires a valid Date.",
                ec: "0002-00000502"
            )
        }
        let apart = date < now ? now - date : date - now
        guard apart > Self.skewMax else { return }
        throw ProviderError(
            403,
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
            ec: "0002-00000504",
            details: [
                ("RequestTime", text), ("ServerTime", WireDate.iso8601(now)),
                ("MaxAllowedSkewMilliseconds", "900000"),
            ]
        )
    }

    private func checkScope(_ claim: SignatureClaim, date: String, _ dialect: Dialect) throws(ProviderError) {
        let service = dialect == .oss ? "oss" : "s3"
        guard claim.scope.day == date.prefix(8), claim.scope.service == service else {
            throw ProviderError(
                dialect == .oss ? 403 : 400,
                dialect == .oss ? "InvalidArgument" : "AuthorizationHeaderMalformed",
                "The scope of the signature does not fit the date or the service."
            )
        }
        guard dialect != .cos, let region, claim.scope.region != region else { return }
        throw ProviderError(
            400,
            dialect == .oss ? "InvalidArgument" : "AuthorizationHeaderMalformed",
            "The region '\(claim.scope.region)' is wrong; expecting '\(region)'",
            details: [("Region", region)]
        )
    }

    private func checkSignedHeaders(_ claim: SignatureClaim, _ request: StoreRequest) throws(ProviderError) {
        let signed = Set(claim.signedHeaders)
        let missing = request.headers.map(\.name).filter {
            ($0 == "host" || $0.hasPrefix("x-amz-") && $0 != "x-amz-content-sha256") && !signed.contains($0)
        }
        guard missing.isEmpty else {
            throw ProviderError(
                403,
                "AccessDenied",
                "There were headers present in the request which were not signed",
                details: [("HeadersNotSigned", missing.joined(separator: ", "))]
            )
        }
    }

    private func checkToken(_ request: StoreRequest) throws(ProviderError) {
        let names = [
            "x-oss-security-token", "security-token", "x-amz-security-token", "X-Amz-Security-Token",
        ]
        let tokens = names.compactMap { request.header($0) ?? request.parameter($0) }
        guard let token = tokens.first, token != sessionToken else { return }
        throw request.dialect == .oss
            ? ProviderError(
                403,
                "InvalidSecurityToken",
                "The security token you provided is invalid.",
                ec: "0002-00000207"
            )
            : ProviderError(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
    }

    private static let expiredRequest = ProviderError(
        403,
        "AccessDenied",
        "Request has expired",
        ec: "0002-00000069"
    )

    private static func expiredToken(_ dialect: Dialect) -> ProviderError {
        switch dialect {
        case .oss:
            ProviderError(
                403,
                "SecurityTokenExpired",
                "The security token you provided has expired.",
                ec: "0002-00000210"
            )
        case .s3: ProviderError(400, "ExpiredToken", "The provided token has expired.")
        case .cos, .oas: .accessDenied
        }
    }
}
