/// Signature version 1.0 of Alibaba Cloud's RPC products (`SignatureMethod=HMAC-SHA1`), which their older SDKs send:
/// HMAC-SHA1 over all parameters, those of the query and those of a form alike.
package enum RPCSignature {
    private static let parameter = "Signature"

    /// The signature, in base64. `parameters` may hold the signature itself, which is left out.
    package static func signature(method: String, _ parameters: [QueryItem], secret: String) -> String {
        let text = stringToSign(method: method, parameters)
        return Base64.encode(Digest.hmacSHA1(key: Array("\(secret)&".utf8), Array(text.utf8)))
    }

    package static func stringToSign(method: String, _ parameters: [QueryItem]) -> String {
        let canonical = SignableRequest(method: method, bucket: nil, query: parameters)
            .canonicalQuery(excluding: parameter, bareEmpty: false)
        return "\(method)&\(PercentEncoding.encode("/"))&\(PercentEncoding.encode(canonical))"
    }

    /// Who signed a request, by its parameters.
    package static func claim(_ parameters: [QueryItem]) -> (accessKeyID: String, signature: String)? {
        guard let key = parameters["AccessKeyId"], let signature = parameters[parameter],
            parameters["SignatureMethod"]?.text == "HMAC-SHA1", parameters["SignatureVersion"]?.text == "1.0"
        else { return nil }
        return (key.text, signature.text)
    }
}
