// The description of the HTTP interface, drawn by Swagger UI, which comes with the server.
window.SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui" });
