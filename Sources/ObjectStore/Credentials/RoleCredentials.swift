package import ThawCore
package import Wire
import HTTP

/// The role of the machine we run on, asked of its metadata service.
package struct InstanceRoleCredentials: CredentialsSource {
    /// What the two vendors' services differ in.
    private struct Service {
        let base: String
        let tokenPath: String
        let rolesPath: String
        let headerPrefix: String
        let secret: String
        let token: String
        let disabledBy: String
    }

    package let name: String
    private let service: Service
    private let role: String?
    private let isDisabled: Bool
    private let transport: any Transport

    /// - Parameters:
    ///   - role: the role's name, when it is known; asked for otherwise
    ///   - base: the service's address, for tests; nil for the vendor's
    package init(
        _ dialect: Dialect,
        role: String? = nil,
        _ environment: [String: String],
        transport: any Transport,
        base: String? = nil
    ) {
        let path = "meta-data/"
        switch dialect {
        case .oss, .oas:
            name = "ECS instance role"
            service = Service(
                base: base ?? "http://100.100.100.200",
                tokenPath: "/latest/api/token",
                rolesPath: "/latest/\(path)ram/security-credentials/",
                headerPrefix: "x-aliyun-ecs-metadata-token",
                secret: "AccessKeySecret",
                token: "SecurityToken",
                disabledBy: "ALIBABA_CLOUD_ECS_METADATA_DISABLED"
            )
            self.role = role ?? environment["ALIBABA_CLOUD_ECS_METADATA"]
        case .s3, .cos:
            name = "EC2 instance role"
            service = Service(
                base: base ?? "http://169.254.169.254",
                tokenPath: "/latest/api/token",
                rolesPath: "/latest/\(path)iam/security-credentials/",
                headerPrefix: "x-aws-ec2-metadata-token",
                secret: "SecretAccessKey",
                token: "Token",
                disabledBy: "AWS_EC2_METADATA_DISABLED"
            )
            self.role = role
        }
        isDisabled = environment[service.disabledBy]?.lowercased() == "true"
        self.transport = transport
    }

    package func load() async throws(CredentialsError) -> Finding {
        if isDisabled { return .absent("\(service.disabledBy) is set") }
        var headers: [(name: String, value: String)] = []
        do {
            let reply = try await ask(
                .put,
                service.tokenPath,
                [("\(service.headerPrefix)-ttl-seconds", "21600")]
            )
            // Services that know no tokens refuse this and answer without one.
            if reply.status == 200 {
                headers = [(service.headerPrefix, String(decoding: reply.body, as: UTF8.self))]
            }
        } catch {
            return .absent("no metadata service answers")
        }
        let role: String
        if let known = self.role {
            role = known
        } else {
            let reply = try await answer(service.rolesPath, headers)
            guard reply.status == 200 else { return .absent("this machine has no role") }
            let line = String(decoding: reply.body, as: UTF8.self).split(whereSeparator: \.isWhitespace).first
            guard let line else { return .absent("this machine has no role") }
            role = String(line)
        }
        let reply = try await answer(service.rolesPath + PercentEncoding.encode(role), headers)
        guard reply.status == 200, let json = JSON(reply.body) else {
            throw CredentialsError(
                "\(name) \(role): the metadata service answered with status \(reply.status)"
            )
        }
        return .found(try Lease(json, secret: service.secret, token: service.token, from: "\(name) \(role)"))
    }

    private func answer(
        _ path: String,
        _ headers: [(name: String, value: String)]
    ) async throws(CredentialsError) -> HTTPResponse {
        do {
            return try await ask(.get, path, headers)
        } catch {
            throw CredentialsError("\(name): \(StoreError(error).message)")
        }
    }

    private func ask(
        _ method: HTTPRequest.Method,
        _ path: String,
        _ headers: [(name: String, value: String)]
    ) async throws(HTTPError) -> HTTPResponse {
        // Where there is no such service nothing answers at all: waiting long would only hold up the mount.
        try await transport.perform(
            HTTPRequest(method: method, url: service.base + path, headers: headers, timeout: .seconds(2)),
            into: nil
        )
    }
}

/// The role of an AWS container, from the endpoint that its environment names.
package struct ContainerCredentials: CredentialsSource {
    package let name = "container role"
    private let environment: [String: String]
    private let transport: any Transport
    private let base: String

    package init(
        _ environment: [String: String],
        transport: any Transport,
        base: String = "http://169.254.170.2"
    ) {
        self.environment = environment
        self.transport = transport
        self.base = base
    }

    package func load() async throws(CredentialsError) -> Finding {
        let url: String
        if let path = environment["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] {
            url = base + path
        } else if let full = environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] {
            guard Self.isTrusted(full) else {
                throw CredentialsError(
                    "\(name): over http only this machine and the container endpoints are asked"
                )
            }
            url = full
        } else {
            return .absent("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not set")
        }
        var headers: [(name: String, value: String)] = []
        if let token = try authorization() { headers.append(("authorization", token)) }
        let reply: HTTPResponse
        do {
            reply = try await transport.perform(
                HTTPRequest(method: .get, url: url, headers: headers, timeout: .seconds(5)),
                into: nil
            )
        } catch {
            throw CredentialsError("\(name): \(StoreError(error).message)")
        }
        guard reply.status == 200, let json = JSON(reply.body) else {
            throw CredentialsError("\(name): the endpoint answered with status \(reply.status)")
        }
        return .found(try Lease(json, secret: "SecretAccessKey", token: "Token", from: name))
    }

    private func authorization() throws(CredentialsError) -> String? {
        if let path = environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] {
            guard let content = try readFile(path) else {
                throw CredentialsError("\(name): there is no \(path)")
            }
            return String(decoding: content, as: UTF8.self).split(whereSeparator: \.isNewline).first.map(
                String.init
            )
        }
        return environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    }

    /// A token must not go over the network in the clear.
    private static func isTrusted(_ url: String) -> Bool {
        guard let mark = url.firstRange(of: "://") else { return false }
        if url[..<mark.lowerBound].lowercased() == "https" { return true }
        let authority = url[mark.upperBound...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard let endpoint = try? Endpoint("http://" + authority) else { return false }
        let allowed: Set = ["localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"]
        return allowed.contains(endpoint.host)
            || (endpoint.isNumericOrLocal && endpoint.host.hasPrefix("127."))
    }
}

extension CredentialsChain {
    /// The vendors' own places, in their own order: environment, files, container, instance role.
    package static func standard(
        _ dialect: Dialect,
        profile: String?,
        environment: [String: String],
        transport: any Transport,
        clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) -> CredentialsChain {
        var sources: [any CredentialsSource]
        switch dialect {
        case .oss:
            let role: @Sendable (String?) -> any CredentialsSource = { name in
                InstanceRoleCredentials(.oss, role: name, environment, transport: transport)
            }
            sources = [OSSFileCredentials(profile: profile, environment, role: role), role(nil)]
        case .oas: sources = [OASFileCredentials(profile: profile, environment)]
        case .s3:
            sources = [
                AWSFileCredentials(profile: profile, environment),
                ContainerCredentials(environment, transport: transport),
                InstanceRoleCredentials(.s3, environment, transport: transport),
            ]
        case .cos:
            let iam = IAM(transport: transport, clock: clock)
            sources = [AWSFileCredentials(profile: profile, environment, iam: iam)]
            if profile == nil {
                sources.insert(IBMFileCredentials(environment, iam: iam), at: 0)
                sources.insert(EnvironmentCredentials(dialect, environment), at: 0)
                sources.insert(IAMEnvironmentCredentials(environment: environment, iam: iam), at: 0)
            }
            return CredentialsChain(sources, clock: clock)
        }
        // An option that names a profile is more deliberate than what the environment happens to hold.
        if profile == nil { sources.insert(EnvironmentCredentials(dialect, environment), at: 0) }
        return CredentialsChain(sources, clock: clock)
    }
}
