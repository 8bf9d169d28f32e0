import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.HandlerRegistry;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerMethodDefinition;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.netty.shaded.io.netty.handler.ssl.ClientAuth;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContextBuilder;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.util.HexFormat;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * An Account service that is not ours: gRPC's own server for Java, which does what it is asked for. The same as
 * account_peer.py, which says more.
 *
 * <p>{@code java -cp 'jars/*' AccountPeer.java HOST PORT [CERTIFICATE KEY [CA]]}
 */
public final class AccountPeer {
    private static final String SERVICE = "account.order.v1.AccountOrderService";
    private static final Set<String> METHODS =
            Set.of("ReserveCash", "ReleaseCash", "ReservePosition", "ReleasePosition");
    private static final Metadata.Key<String> CORRELATION =
            Metadata.Key.of("x-correlation-id", Metadata.ASCII_STRING_MARSHALLER);
    private static final Metadata.Key<String> PEER = Metadata.Key.of("x-peer", Metadata.ASCII_STRING_MARSHALLER);
    private static final int MIB = 1_048_576;
    /** More than a client has to take. */
    private static final int HEADER_BYTES = 20_000;
    /** The correlation id of a call that ends the process. */
    private static final String DEADLY = "0000dead00000000";
    /** How long after the headers the process ends, so that they are on their way. */
    private static final int EXIT_MILLIS = 10;

    private static final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();

    /** The contract's classes are not needed to find one field. */
    private static final MethodDescriptor.Marshaller<byte[]> BYTES = new MethodDescriptor.Marshaller<>() {
        @Override
        public InputStream stream(byte[] value) {
            return new ByteArrayInputStream(value);
        }

        @Override
        public byte[] parse(InputStream stream) {
            try {
                return stream.readAllBytes();
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    };

    /** Every method of the service takes one message; the type leaves open how many it answers. */
    private static final class Registry extends HandlerRegistry {
        @Override
        public ServerMethodDefinition<?, ?> lookupMethod(String name, String authority) {
            String method = name.substring(name.indexOf('/') + 1);
            if (!name.startsWith(SERVICE + "/") || !METHODS.contains(method)) {
                return null;
            }
            MethodDescriptor<byte[], byte[]> descriptor = MethodDescriptor.<byte[], byte[]>newBuilder(BYTES, BYTES)
                    .setFullMethodName(name)
                    .setType(MethodDescriptor.MethodType.SERVER_STREAMING)
                    .build();
            return ServerMethodDefinition.create(descriptor, new Handler(method));
        }
    }

    private static final class Handler implements ServerCallHandler<byte[], byte[]> {
        private final String method;

        Handler(String method) {
            this.method = method;
        }

        @Override
        public ServerCall.Listener<byte[]> startCall(ServerCall<byte[], byte[]> call, Metadata headers) {
            String correlation = headers.get(CORRELATION);
            Deadline deadline = Context.current().getDeadline();
            call.request(2);
            return new ServerCall.Listener<>() {
                private byte[] message;

                @Override
                public void onMessage(byte[] received) {
                    message = received;
                }

                @Override
                public void onHalfClose() {
                    double seconds = deadline == null ? -1 : deadline.timeRemaining(TimeUnit.MICROSECONDS) / 1e6;
                    System.out.printf(
                            "CALL {\"method\": \"%s\", \"message\": \"%s\", \"correlation\": %s, \"seconds\": %f}%n",
                            method,
                            HexFormat.of().formatHex(message),
                            correlation == null ? "null" : "\"" + correlation + "\"",
                            seconds);
                    answer(call, accountIdOf(message), DEADLY.equals(correlation));
                }
            };
        }
    }

    private static void answer(ServerCall<byte[], byte[]> call, long accountId, boolean isDeadly) {
        int number = (int) (accountId % 1000);
        if (accountId >= 10000 && accountId < 10100) {
            send(call, reply(number));
            call.close(Status.OK, new Metadata());
        } else if (accountId >= 20000 && accountId < 20100) {
            sendHeaders(call, "headers first");
            close(call, number);
        } else if (accountId >= 21000 && accountId < 21100) {
            close(call, number);
        } else if (accountId == 30000 || accountId == 30001) {
            send(call, paddedReply(MIB + number));
            call.close(Status.OK, new Metadata());
        } else if (accountId == 30002 && !isDeadly) {
            send(call, reply(0));
            call.close(Status.OK, new Metadata());
        } else if (accountId == 30002) {
            sendHeaders(call, "and no more");
            timer.schedule(() -> Runtime.getRuntime().halt(0), EXIT_MILLIS, TimeUnit.MILLISECONDS);
        } else if (accountId == 30003) {
            return;
        } else if (accountId == 30004) {
            send(call, reply(0));
            call.sendMessage(reply(0));
            call.close(Status.OK, new Metadata());
        } else if (accountId == 30005) {
            sendHeaders(call, "x".repeat(HEADER_BYTES));
            call.sendMessage(reply(0));
            call.close(Status.OK, new Metadata());
        } else {
            close(call, Status.Code.INTERNAL.value());
        }
    }

    private static void sendHeaders(ServerCall<byte[], byte[]> call, String text) {
        Metadata headers = new Metadata();
        headers.put(PEER, text);
        call.sendHeaders(headers);
    }

    private static void send(ServerCall<byte[], byte[]> call, byte[] message) {
        call.sendHeaders(new Metadata());
        call.sendMessage(message);
    }

    /** Without headers sent before, this is a trailers-only answer. */
    private static void close(ServerCall<byte[], byte[]> call, int number) {
        call.close(Status.fromCodeValue(number).withDescription("as asked: 100 % \u00fcber"), new Metadata());
    }

    /** Field 1, a varint; the fields come in the order of their numbers. */
    private static long accountIdOf(byte[] message) {
        long number = 0;
        for (int i = 1; i < message.length; i++) {
            number |= (long) (message[i] & 0x7F) << (7 * (i - 1));
            if (message[i] >= 0) {
                break;
            }
        }
        return number;
    }

    /** A CommonReply: an empty message for SUCCESS, which is 0. */
    private static byte[] reply(int code) {
        return code == 0 ? new byte[0] : new byte[] {0x08, (byte) code};
    }

    /** SUCCESS in |size| bytes: a field 1000 that the contract does not have; its length takes three bytes. */
    private static byte[] paddedReply(int size) {
        byte[] message = new byte[size];
        int content = size - 5;
        message[0] = (byte) 0xc2;
        message[1] = 0x3e;
        message[2] = (byte) (content & 0x7F | 0x80);
        message[3] = (byte) (content >> 7 & 0x7F | 0x80);
        message[4] = (byte) (content >> 14);
        return message;
    }

    /** A limit that the environment asks for; 0: none. */
    private static long millis(String name) {
        return Long.parseLong(System.getenv().getOrDefault(name, "0"));
    }

    public static void main(String[] arguments) throws Exception {
        InetSocketAddress address = new InetSocketAddress(arguments[0], Integer.parseInt(arguments[1]));
        NettyServerBuilder server = NettyServerBuilder.forAddress(address);
        if (arguments.length > 2) {
            SslContextBuilder tls = GrpcSslContexts.forServer(new File(arguments[2]), new File(arguments[3]));
            if (arguments.length > 4) {
                tls.trustManager(new File(arguments[4])).clientAuth(ClientAuth.REQUIRE);
            }
            server.sslContext(tls.build());
        }
        if (millis("MAX_CONNECTION_IDLE_MS") > 0) {
            server.maxConnectionIdle(millis("MAX_CONNECTION_IDLE_MS"), TimeUnit.MILLISECONDS);
        }
        if (millis("MAX_CONNECTION_AGE_MS") > 0) {
            server.maxConnectionAge(millis("MAX_CONNECTION_AGE_MS"), TimeUnit.MILLISECONDS);
        }
        server.fallbackHandlerRegistry(new Registry()).build().start();
        System.out.println("READY");
        Thread.currentThread().join();
    }

    private AccountPeer() {}
}
