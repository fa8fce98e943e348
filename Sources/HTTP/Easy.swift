internal import CCurl
internal import ThawCore

/// One libcurl easy handle. It serves one transfer after another on its loop; the connections it used stay in the
/// loop's cache. Confined to the loop's thread. This file and Multi.swift are the only ones that spell libcurl's
/// names.
final class Easy {
    let handle: UnsafeMutableRawPointer
    private let configuration: HTTPClient.Configuration
    private let errorText: UnsafeMutablePointer<CChar>
    private var headers: UnsafeMutablePointer<curl_slist>?

    init(configuration: HTTPClient.Configuration) {
        guard let handle = curl_easy_init() else { preconditionFailure("curl_easy_init: out of memory") }
        self.handle = handle
        self.configuration = configuration
        errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    }

    deinit {
        curl_easy_cleanup(handle)
        curl_slist_free_all(headers)
        errorText.deallocate()
    }

    /// Sets every option for `transfer`, which must have passed `HTTPRequest.validate`, and keeps it alive until
    /// `detach`.
    func attach(_ transfer: Transfer) {
        curl_easy_reset(handle)
        errorText.pointee = 0
        set(CURLOPT_ERRORBUFFER, UnsafeMutableRawPointer(errorText))
        setProtocol(transfer.request)
        setConnection(transfer.request)
        setMethod(transfer.request)
        setHeaders(transfer.request)
        setCallbacks(transfer)
    }

    /// Lets go of the transfer. The handle must be out of its multi handle.
    func detach() {
        guard let context = context(of: handle) else { return }
        // SAFETY: balances the retain of `setCallbacks`; the reset forgets every copy of the pointer.
        curl_easy_reset(handle)
        curl_slist_free_all(headers)
        headers = nil
        Unmanaged<Transfer>.fromOpaque(context).release()
    }

    /// The failure that `code` means for this exchange; nil for success.
    func failure(_ code: CURLcode) -> HTTPError? {
        if code == CURLE_OK { return nil }
        let words =
            errorText.pointee != 0 ? errorText : UnsafeMutablePointer(mutating: curl_easy_strerror(code))
        let text = words.map { String(cString: $0) } ?? "libcurl error \(code.rawValue)"
        switch code {
        case CURLE_URL_MALFORMAT, CURLE_LOGIN_DENIED:
            return .malformedRequest(text)
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT, CURLE_PROXY,
            CURLE_INTERFACE_FAILED:
            return .connect(text)
        case CURLE_OPERATION_TIMEDOUT:
            // Nothing was sent yet: it is the connection that was not made in time.
            var sentAt: curl_off_t = 0
            thaw_curl_getinfo_offset(handle, CURLINFO_PRETRANSFER_TIME_T, &sentAt)
            return sentAt == 0 ? .connect(text) : .timeout(text)
        case CURLE_SSL_CONNECT_ERROR:
            // libcurl has one code for a handshake that failed and for a connection that broke during it; only its
            // words tell the second, which a busy load balancer causes and a retry cures.
            let isBroken = text.contains("SSL_ERROR_SYSCALL") || text.contains("reset by peer")
            return isBroken ? .connect(text) : .tls(text)
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER,
            CURLE_SSL_CACERT_BADFILE,
            CURLE_SSL_ISSUER_ERROR, CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_ENGINE_INITFAILED,
            CURLE_SSL_ENGINE_NOTFOUND, CURLE_SSL_ENGINE_SETFAILED:
            return .tls(text)
        default:
            return .broken(text)
        }
    }

    /// The transfer that `handle` is attached to.
    static func transfer(of handle: UnsafeMutableRawPointer) -> Transfer? {
        // SAFETY: the pointer was retained by `setCallbacks` and is released by `detach` only.
        context(of: handle).map { Unmanaged<Transfer>.fromOpaque($0).takeUnretainedValue() }
    }
}

// MARK: - Options

extension Easy {
    private func setProtocol(_ request: HTTPRequest) {
        set(CURLOPT_URL, request.url)
        set(CURLOPT_PROTOCOLS_STR, "http,https")
        set(CURLOPT_PATH_AS_IS, true)
        set(CURLOPT_DISALLOW_USERNAME_IN_URL, true)
        set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        set(CURLOPT_HTTP09_ALLOWED, false)
        set(CURLOPT_FOLLOWLOCATION, false)
        set(CURLOPT_FAILONERROR, false)
        set(CURLOPT_NETRC, Int(CURL_NETRC_IGNORED.rawValue))
        // The chunks of a chunked body are taken apart; a compressed body stays as the store has it.
        set(CURLOPT_HTTP_TRANSFER_DECODING, true)
        set(CURLOPT_HTTP_CONTENT_DECODING, false)
        set(CURLOPT_USERAGENT, configuration.userAgent)
    }

    private func setConnection(_ request: HTTPRequest) {
        set(CURLOPT_NOSIGNAL, true)
        set(CURLOPT_NOPROGRESS, true)
        // Cancelling during name resolution would otherwise stop the whole loop until the resolver gives up.
        set(CURLOPT_QUICK_EXIT, true)
        set(CURLOPT_TCP_NODELAY, true)
        set(CURLOPT_TCP_KEEPALIVE, true)
        // Over loopback a GiB takes the same time with 128 and with 512 KiB; of a store far away forty bodies come at
        // once, each with a buffer of its own.
        set(CURLOPT_BUFFERSIZE, 128 << 10)
        // 1.0 to 1.5 GB/s to a server on this machine with 64 to 512 KiB alike; half of it with 2 MiB.
        set(CURLOPT_UPLOAD_BUFFERSIZE, 128 << 10)
        set(CURLOPT_SSL_VERIFYPEER, true)
        set(CURLOPT_SSL_VERIFYHOST, 2)
        set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        if let caFile = configuration.caFile {
            set(CURLOPT_CAINFO, caFile)
            setNull(CURLOPT_CAPATH)
        }
        // The usual variables (https_proxy, no_proxy) hold, as for any program, but this machine is never reached
        // through a proxy. An empty name is libcurl's way to say none.
        if request.isToLoopback { set(CURLOPT_PROXY, "") }
        set(CURLOPT_SUPPRESS_CONNECT_HEADERS, true)
        set(CURLOPT_HEADEROPT, Int(CURLHEADER_SEPARATE))
        set(CURLOPT_CONNECTTIMEOUT_MS, milliseconds(configuration.connectTimeout))
        set(CURLOPT_LOW_SPEED_LIMIT, 1 << 10)
        set(CURLOPT_LOW_SPEED_TIME, max(1, Int(request.stallMax.components.seconds)))
        set(CURLOPT_FRESH_CONNECT, request.isSentOnce)
        // 0 is libcurl's word for none.
        set(CURLOPT_TIMEOUT_MS, request.timeout.map { milliseconds($0) } ?? 0)
    }

    private func setMethod(_ request: HTTPRequest) {
        switch request.method {
        case .get: set(CURLOPT_HTTPGET, true)
        case .head: set(CURLOPT_NOBODY, true)
        case .delete where request.body.sizeBytes == 0: set(CURLOPT_HTTPGET, true)
        case .put, .post, .delete:
            // Also for POST: CURLOPT_POST would add a Content-Type.
            set(CURLOPT_UPLOAD, true)
            setOffset(CURLOPT_INFILESIZE_LARGE, Int(clamping: request.body.sizeBytes))
        }
        if request.method != .head { set(CURLOPT_CUSTOMREQUEST, request.method.rawValue) }
    }

    private func setHeaders(_ request: HTTPRequest) {
        // A name with nothing after the colon takes out a header that libcurl would add: waiting for 100 Continue
        // costs a round trip or, where it never comes, a second.
        append("Expect:")
        for header in request.headers {
            // To libcurl a semicolon is the sign of a header with an empty value.
            append(
                header.value.allSatisfy(\.isWhitespace)
                    ? "\(header.name);" : "\(header.name): \(header.value)"
            )
        }
        check(thaw_curl_setopt_list(handle, CURLOPT_HTTPHEADER, headers))
    }

    private func append(_ line: String) {
        guard let longer = curl_slist_append(headers, line) else {
            preconditionFailure("curl_slist_append: out of memory")
        }
        headers = longer
    }

    private func setCallbacks(_ transfer: Transfer) {
        // SAFETY: libcurl keeps the pointer while the handle is in use; `detach` releases it after that.
        let context = Unmanaged.passRetained(transfer).toOpaque()
        set(CURLOPT_PRIVATE, context)
        set(CURLOPT_HEADERDATA, context)
        set(CURLOPT_WRITEDATA, context)
        set(CURLOPT_READDATA, context)
        set(CURLOPT_SEEKDATA, context)
        check(thaw_curl_setopt_data_function(handle, CURLOPT_HEADERFUNCTION, receiveHeader))
        check(thaw_curl_setopt_data_function(handle, CURLOPT_WRITEFUNCTION, receiveBody))
        check(thaw_curl_setopt_data_function(handle, CURLOPT_READFUNCTION, readBody))
        check(thaw_curl_setopt_seek_function(handle, seekBody))
    }

    private func set(_ option: CURLoption, _ value: String) {
        check(thaw_curl_setopt_string(handle, option, value))
    }

    private func setNull(_ option: CURLoption) {
        check(thaw_curl_setopt_string(handle, option, nil))
    }

    private func set(_ option: CURLoption, _ value: Int) {
        check(thaw_curl_setopt_long(handle, option, value))
    }

    private func set(_ option: CURLoption, _ value: Bool) {
        check(thaw_curl_setopt_long(handle, option, value ? 1 : 0))
    }

    private func set(_ option: CURLoption, _ value: UnsafeMutableRawPointer) {
        check(thaw_curl_setopt_pointer(handle, option, value))
    }

    private func setOffset(_ option: CURLoption, _ value: Int) {
        check(thaw_curl_setopt_offset(handle, option, curl_off_t(value)))
    }

    /// libcurl refuses an option only when it is unknown, out of range, or memory is out.
    private func check(_ code: CURLcode) {
        precondition(code == CURLE_OK, "curl_easy_setopt: \(code.rawValue)")
    }

    private func milliseconds(_ duration: Duration) -> Int {
        Int(min(max(duration / .milliseconds(1), 1), Double(Int32.max)))
    }
}

// MARK: - Callbacks. They run inside libcurl, on the loop's thread.

private func context(of handle: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
    var context: UnsafeMutableRawPointer?
    thaw_curl_getinfo_private(handle, &context)
    return context
}

// SAFETY: the context is the transfer that `setCallbacks` retained, and libcurl calls back only between then and
// `detach`.
private func transfer(_ context: UnsafeMutableRawPointer?) -> Transfer? {
    context.map { Unmanaged<Transfer>.fromOpaque($0).takeUnretainedValue() }
}

private let receiveHeader: thaw_curl_data_function = { bytes, size, count, context in
    let line = UnsafeRawBufferPointer(start: bytes, count: size * count)
    return transfer(context)?.receiveHeader(line) == true ? size * count : 0
}

private let receiveBody: thaw_curl_data_function = { bytes, size, count, context in
    // An empty body may come as one call of no bytes, for which 0 is success.
    if size * count == 0 { return 0 }
    let part = UnsafeRawBufferPointer(start: bytes, count: size * count)
    return transfer(context)?.receiveBody(part) == true ? size * count : 0
}

private let readBody: thaw_curl_data_function = { bytes, size, count, context in
    let buffer = UnsafeMutableRawBufferPointer(start: bytes, count: size * count)
    guard let transfer = transfer(context) else { return Int(CURL_READFUNC_ABORT) }
    return transfer.readBody(into: buffer) ?? Int(CURL_READFUNC_ABORT)
}

private let seekBody: curl_seek_callback = { context, offset, origin in
    guard origin == SEEK_SET, offset >= 0, transfer(context)?.seekBody(to: UInt64(offset)) == true else {
        return CURL_SEEKFUNC_FAIL
    }
    return CURL_SEEKFUNC_OK
}
