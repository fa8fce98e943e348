import Wire

/// `~/.aws/credentials` and `~/.aws/config`, with profiles and `credential_process`; for IBM COS also `ibm_api_key_id`,
/// `ibm_service_instance_id` and `ibm_auth_endpoint`, as IBM's SDK has them there.
package struct AWSFileCredentials: CredentialsSource {
    package let name: String
    private let profile: String
    private let isProfileNamed: Bool
    private let credentialsPath: String
    private let configPath: String
    private let iam: IAM?

    /// - Parameter profile: nil for `AWS_PROFILE`, and `default` without that
    package init(profile: String?, _ environment: [String: String]) {
        self.init(profile: profile, environment, iam: nil)
    }

    /// - Parameter iam: what exchanges IBM's API keys; nil to pass them over
    init(profile: String?, _ environment: [String: String], iam: IAM?) {
        self.iam = iam
        let home = environment["HOME"] ?? "/"
        let named = profile ?? environment["AWS_PROFILE"]
        isProfileNamed = named != nil
        self.profile = named ?? "default"
        credentialsPath = environment["AWS_SHARED_CREDENTIALS_FILE"] ?? "\(home)/.aws/credentials"
        configPath = environment["AWS_CONFIG_FILE"] ?? "\(home)/.aws/config"
        name = "profile \(self.profile) in \(credentialsPath) and \(configPath)"
    }

    package func load() async throws(CredentialsError) -> Finding {
        let shared = try Profiles.read(credentialsPath)?.sections[profile]
        let sections = try Profiles.read(configPath)?.sections
        // In the config file every profile but the default has the word before its name.
        let config = sections?["profile \(profile)"] ?? (profile == "default" ? sections?["default"] : nil)
        guard shared != nil || config != nil else {
            // Who names a profile does not want another place's credentials.
            if isProfileNamed { throw CredentialsError("there is no \(name)") }
            return .absent("no such profile")
        }
        for (settings, path) in [(shared, credentialsPath), (config, configPath)] {
            guard let settings else { continue }
            if let lease = try await keys(settings, path) { return .found(lease) }
        }
        if let command = shared?["credential_process"] ?? config?["credential_process"] {
            return .found(try await ProcessCredentials.run(command))
        }
        if let setting = ["role_arn", "sso_session", "sso_start_url"].first(where: { config?[$0] != nil }) {
            throw CredentialsError("\(name): \(setting) is not supported; use credential_process")
        }
        return .absent("holds no keys")
    }

    private func keys(_ settings: [String: String], _ path: String) async throws(CredentialsError) -> Lease? {
        let account = IAM.Account(
            apiKey: settings["ibm_api_key_id"], serviceInstanceID: settings["ibm_service_instance_id"],
            endpoint: settings["ibm_auth_endpoint"])
        if let iam, let account { return try await iam.lease(account) }
        switch (settings["aws_access_key_id"], settings["aws_secret_access_key"]) {
        case (let key?, let secret?):
            return Lease(
                Credentials(
                    accessKeyID: key,
                    secretAccessKey: secret,
                    sessionToken: settings["aws_session_token"]
                )
            )
        case (nil, nil): return nil
        default: throw CredentialsError("\(path): profile \(profile) has one half of a key only")
        }
    }
}

/// `~/.oascredentials`, the file of the vendor's command for OAS, and its `OASCredentials` section.
package struct OASFileCredentials: CredentialsSource {
    package var name: String { path }
    private let path: String
    private let section: String

    /// - Parameter profile: the section that is read; nil for `OASCredentials`
    package init(profile: String?, _ environment: [String: String]) {
        path = (environment["HOME"] ?? "/") + "/.oascredentials"
        section = profile ?? "OASCredentials"
    }

    package func load() async throws(CredentialsError) -> Finding {
        guard let settings = try Profiles.read(path)?.sections[section] else {
            return .absent("no such file, or no section \(section)")
        }
        guard let key = settings["accessid"], let secret = settings["accesskey"] else {
            return .absent("holds no keys")
        }
        return .found(Lease(Credentials(accessKeyID: key, secretAccessKey: secret)))
    }
}

/// `~/.ossutilconfig`, the file of the vendor's own command.
package struct OSSFileCredentials: CredentialsSource {
    package var name: String { path }
    private let path: String
    private let section: String
    private let role: @Sendable (String?) -> any CredentialsSource

    /// - Parameters:
    ///   - profile: the section that is read; nil for `Credentials`
    ///   - role: the source that is asked when the file says to use an instance's role of this name
    package init(
        profile: String?,
        _ environment: [String: String],
        role: @escaping @Sendable (String?) -> any CredentialsSource
    ) {
        path = (environment["HOME"] ?? "/") + "/.ossutilconfig"
        section = profile ?? "Credentials"
        self.role = role
    }

    package func load() async throws(CredentialsError) -> Finding {
        guard let profiles = try Profiles.read(path) else { return .absent("no such file") }
        let match = profiles.sections.first { $0.key.lowercased() == section.lowercased() }
        guard let settings = match?.value else { return .absent("no section \(section)") }
        if settings["mode"]?.lowercased() == "ecsramrole" {
            return try await role(settings["ecsrolename"]).load()
        }
        guard let key = settings["accesskeyid"], let secret = settings["accesskeysecret"] else {
            if let mode = settings["mode"], mode.lowercased() == "ramrolearn" {
                throw CredentialsError("\(path): mode \(mode) is not supported")
            }
            return .absent("holds no keys")
        }
        let token = settings["ststoken"].flatMap { $0.isEmpty ? nil : $0 }
        return .found(Lease(Credentials(accessKeyID: key, secretAccessKey: secret, sessionToken: token)))
    }
}
