import ThawCore
import Wire

extension Authorization {
    /// Verifies the signature of a request to an RPC product: ACS3, or the older version 1.0 among its parameters.
    ///
    /// - Parameters:
    ///   - parameters: of the query and of the form
    ///   - now: the server's idea of the real time
    /// - Returns: the nonce, which may be used once; nil when nothing is verified
    func checkRPC(
        _ request: StoreRequest, body: [UInt8], _ parameters: [QueryItem], now: Timestamp, tokenExpired: Bool
    ) throws(ProviderError) -> String? {
        if isLenient { return nil }
        let token: String?
        let date: String?
        let nonce: String?
        if let claim = request.header("authorization").flatMap({ ACS3Signature.claim(authorization: $0) }) {
            try checkACS3(claim, request, body: body)
            token = request.header("x-acs-security-token")
            date = request.header("x-acs-date")
            nonce = request.header("x-acs-signature-nonce")
        } else if let claim = RPCSignature.claim(parameters) {
            let secret = try secret(of: claim.accessKeyID)
            let own = RPCSignature.signature(method: request.method, parameters, secret: secret)
            guard Digest.matches(own, claim.signature) else {
                throw Self.mismatch(RPCSignature.stringToSign(method: request.method, parameters))
            }
            token = parameters["SecurityToken"]?.text
            date = parameters["Timestamp"]?.text
            nonce = parameters["SignatureNonce"]?.text
        } else {
            throw ProviderError(400, "MissingParameter", "The request is not signed.")
        }
        guard !tokenExpired, token == nil || token == sessionToken else {
            throw ProviderError(400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
        }
        guard let time = date.flatMap({ WireDate.parseISO8601($0) }), let nonce, !nonce.isEmpty else {
            throw ProviderError(400, "MissingParameter", "The date or the nonce is missing or malformed.")
        }
        guard time > now - Self.skewMax, time < now + Self.skewMax else {
            throw ProviderError(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
        }
        return nonce
    }

    private func checkACS3(
        _ claim: ACS3Signature.Claim, _ request: StoreRequest, body: [UInt8]
    ) throws(ProviderError) {
        let secret = try secret(of: claim.accessKeyID)
        let unsigned = request.headers.map(\.name).filter {
            ($0 == "host" || $0.hasPrefix("x-acs-")) && !claim.signedHeaders.contains($0)
        }
        let own = ACS3Signature.signature(request.signable, secret: secret, signedHeaders: claim.signedHeaders)
        guard unsigned.isEmpty, request.header("x-acs-content-sha256") == Digest.sha256Hex(body),
            Digest.matches(own, claim.signature)
        else {
            throw Self.mismatch(ACS3Signature.canonicalRequest(request.signable, signedHeaders: claim.signedHeaders))
        }
    }

    private func secret(of accessKeyID: String) throws(ProviderError) -> String {
        guard let secret = secrets[accessKeyID] else {
            throw ProviderError(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        }
        return secret
    }

    private static func mismatch(_ text: String) -> ProviderError {
        ProviderError(
            400, "SignatureDoesNotMatch",
            "Specified signature is not matched with our calculation. server string to sign is:\(text)")
    }
}
