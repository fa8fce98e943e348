package import ThawCore

/// An access key, with a session token when it is temporary; or a bearer token, which is sent as it is. Prints without
/// its secrets.
package struct Credentials: Hashable, Sendable {
    /// Empty with a bearer token.
    package var accessKeyID: String
    package var secretAccessKey: String
    /// The STS token.
    package var sessionToken: String?
    package var bearer: BearerToken?

    package init(accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil) {
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
    }

    package init(_ bearer: BearerToken) {
        self.init(accessKeyID: "", secretAccessKey: "")
        self.bearer = bearer
    }
}

/// What IBM's IAM gives for an API key.
package struct BearerToken: Hashable, Sendable {
    package var text: String
    package var expires: Timestamp
    /// The instance of the service that the API key is for (`ibm-service-instance-id`), where that is known.
    package var serviceInstanceID: String?

    package init(_ text: String, expires: Timestamp, serviceInstanceID: String? = nil) {
        self.text = text
        self.expires = expires
        self.serviceInstanceID = serviceInstanceID
    }
}

extension BearerToken: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "BearerToken(redacted)" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: ["expires": expires]) }
}

extension Credentials: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String {
        if let bearer { return "Credentials(\(bearer))" }
        return "Credentials(\(accessKeyID), secret redacted" + (sessionToken == nil ? ")" : ", token redacted)")
    }
    package var debugDescription: String { description }
    /// Keeps `dump` from printing the stored properties.
    package var customMirror: Mirror { Mirror(self, children: ["accessKeyID": accessKeyID]) }
}
