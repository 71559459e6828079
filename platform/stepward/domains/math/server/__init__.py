"""Language models behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, `transformers serve`, and others."""
