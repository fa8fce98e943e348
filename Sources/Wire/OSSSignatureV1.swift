/// OSS signature version 1: HMAC-SHA1 over a few headers and the resource.
package enum OSSSignatureV1 {
    /// Query parameters that name a sub-resource and are therefore signed; no other one is.
    /// The list of the vendor's oss2 SDK, the widest published, with two operations that came later.
    package static let subresources: Set<String> = Set(
        """
        acl append asyncFetch bucketArchiveDirectRead bucketInfo callback callback-var cname comp
        continuation-token cors delete encryption endTime group httpsConfig inventory inventoryId lifecycle
        link live location logging metaQuery objectInfo objectMeta partNumber policy position
        publicAccessBlock qos qosInfo qosRequester redundancyTransition referer regionList replication
        replicationLocation replicationProgress requestPayment requesterQosInfo resourceGroup resourcePool
        resourcePoolBuckets resourcePoolInfo response-cache-control response-content-disposition
        response-content-encoding response-content-language response-content-type response-expires restore
        security-token sequential stat startTime status style styleName symlink tagging transferAcceleration
        uploadId uploads versionId versioning versions vod website worm wormExtend wormId accessPoint
        accessPointPolicy x-oss-ac-source-ip x-oss-ac-subnet-mask x-oss-ac-vpc-id x-oss-ac-forward-allow
        x-oss-access-point-name x-oss-async-process x-oss-process x-oss-request-payer x-oss-traffic-limit
        x-oss-target-redundancy-type x-oss-redundancy-transition-taskid x-oss-write-get-object-response
        cleanRestoredObject cloudboxes
        """.split(whereSeparator: \.isWhitespace).map(String.init)
    )

    /// The signature, in base64.
    ///
    /// - Parameter expires: of a presigned request, its `Expires`, which takes the date's place.
    package static func signature(_ request: SignableRequest, secret: String, expires: String? = nil)
        -> String
    {
        let text = stringToSign(request, expires: expires)
        return Base64.encode(Digest.hmacSHA1(key: Array(secret.utf8), text))
    }

    /// The `Authorization` of a request that carries its `date` or `x-oss-date`, and its token if it has one.
    package static func authorization(_ request: SignableRequest, credentials: Credentials) -> String {
        "OSS \(credentials.accessKeyID):\(signature(request, secret: credentials.secretAccessKey))"
    }

    /// Bytes, not text: the key goes in as it is.
    package static func stringToSign(_ request: SignableRequest, expires: String? = nil) -> [UInt8] {
        let date = expires ?? request.header("x-oss-date") ?? request.header("date") ?? ""
        var text =
            [request.method, request.header("content-md5") ?? "", request.header("content-type") ?? "", date]
            .joined(separator: "\n") + "\n"
        for name in Set(request.headers.map(\.name)).filter({ $0.hasPrefix("x-oss-") }).sorted() {
            text += "\(name):\(request.header(name) ?? "")\n"
        }
        var bytes = Array(text.utf8) + request.resource
        var separator = UInt8(ascii: "?")
        for item in request.query.filter({ subresources.contains($0.name) }).sorted(by: { $0.name < $1.name })
        {
            bytes.append(separator)
            bytes += Array(item.name.utf8)
            if let value = item.value, !value.isEmpty { bytes += [UInt8(ascii: "=")] + value }
            separator = UInt8(ascii: "&")
        }
        return bytes
    }

    /// Who signed a request, by its `Authorization` (`OSS key:signature`).
    package static func claim(authorization: String) -> (accessKeyID: String, signature: String)? {
        guard authorization.hasPrefix("OSS ") else { return nil }
        let pair = authorization.dropFirst(4).split(separator: ":", maxSplits: 1)
        return pair.count == 2 ? (trimmed(pair[0]), trimmed(pair[1])) : nil
    }

    /// Who presigned a request, by its query, and until which Unix second.
    package static func claim(query: [QueryItem]) -> (
        accessKeyID: String, signature: String, expires: String
    )? {
        guard let key = query["OSSAccessKeyId"], let signature = query["Signature"],
            let expires = query["Expires"]
        else { return nil }
        return (key.text, signature.text, expires.text)
    }
}
