import ThawCore
import Wire

extension Lease {
    /// Reads the document of an instance role, a container endpoint or a credential process.
    ///
    /// - Parameters:
    ///   - secret, token: what this vendor calls them
    init(_ json: JSON, secret: String, token: String, from place: String) throws(CredentialsError) {
        if let code = json["Code"]?.string, code != "Success" {
            throw CredentialsError("\(place) answered with code \(code)")
        }
        guard let key = json["AccessKeyId"]?.string, let secret = json[secret]?.string else {
            throw CredentialsError("\(place) gave a document without a key")
        }
        var expires: Timestamp?
        if let text = json["Expiration"]?.string {
            guard let time = WireDate.parseISO8601(text) else {
                throw CredentialsError("\(place) gave an Expiration that cannot be read: \(text)")
            }
            expires = time
        }
        self.init(
            Credentials(accessKeyID: key, secretAccessKey: secret, sessionToken: json[token]?.string),
            expires: expires
        )
    }
}
