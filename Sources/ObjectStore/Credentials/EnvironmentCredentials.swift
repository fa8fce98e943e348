import ThawCore
package import Wire

/// Credentials in environment variables, by the names of the vendors' own tools.
package struct EnvironmentCredentials: CredentialsSource {
    private struct Names {
        let key: String
        let secret: String
        let tokens: [String]
        let expiration: String?
    }

    package let name = "environment"
    private let sets: [Names]
    private let environment: [String: String]

    package init(_ dialect: Dialect, _ environment: [String: String]) {
        self.environment = environment.filter { !$0.value.isEmpty }
        sets =
            switch dialect {
            case .oss, .oas:
                [
                    Names(
                        key: "OSS_ACCESS_KEY_ID",
                        secret: "OSS_ACCESS_KEY_SECRET",
                        tokens: ["OSS_SESSION_TOKEN"],
                        expiration: nil
                    ),
                    Names(
                        key: "ALIBABA_CLOUD_ACCESS_KEY_ID",
                        secret: "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
                        tokens: ["ALIBABA_CLOUD_SECURITY_TOKEN"],
                        expiration: nil
                    ),
                ]
            // IBM's SDK reads HMAC keys from AWS's variables.
            case .s3, .cos:
                [
                    Names(
                        key: "AWS_ACCESS_KEY_ID",
                        secret: "AWS_SECRET_ACCESS_KEY",
                        tokens: ["AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"],
                        expiration: "AWS_CREDENTIAL_EXPIRATION"
                    )
                ]
            }
    }

    package func load() async throws(CredentialsError) -> Finding {
        for names in sets {
            switch (environment[names.key], environment[names.secret]) {
            case (let key?, let secret?):
                let token = names.tokens.lazy.compactMap { environment[$0] }.first
                let expires = names.expiration.flatMap { environment[$0] }.flatMap {
                    WireDate.parseISO8601($0)
                }
                return .found(
                    Lease(
                        Credentials(accessKeyID: key, secretAccessKey: secret, sessionToken: token),
                        expires: expires
                    )
                )
            case (nil, nil): continue
            case (nil, _): throw CredentialsError("\(names.secret) is set but \(names.key) is not")
            case (_, nil): throw CredentialsError("\(names.key) is set but \(names.secret) is not")
            }
        }
        return .absent(sets.map { "\($0.key) is not set" }.joined(separator: ", "))
    }
}
